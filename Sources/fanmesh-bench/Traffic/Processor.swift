internal import CBench

/// The processors that the two ends of traffic are tied to.
///
/// Left to the scheduler both ends sometimes share one, which says nothing about the overlay.
enum Processor: Int32 {
    case sender = 0
    case receiver = 1

    /// Ties this process to a processor.
    static func pin(_ processor: Processor) {
        // Refused on a machine with one processor, where there is nothing to choose.
        _ = bench_pin(processor.rawValue)
    }
}
