internal import FanCore

/// Lengths of time as people read them.
enum TimeText {
    /// In the largest unit that fits, rounded down: `0.4 s`, `12 s`, `3 min`, `5 h`, `2 d`.
    static func length(_ time: Duration) -> String {
        let milliseconds = max(0, time.milliseconds)
        let seconds = milliseconds / 1000
        return switch seconds {
        case ..<10: "\(seconds).\(milliseconds % 1000 / 100) s"
        case ..<120: "\(seconds) s"
        case ..<7200: seconds % 60 == 0 ? "\(seconds / 60) min" : "\(seconds / 60) min \(seconds % 60) s"
        case ..<172_800:
            seconds % 3600 / 60 == 0 ? "\(seconds / 3600) h" : "\(seconds / 3600) h \(seconds % 3600 / 60) min"
        default: "\(seconds / 86_400) d"
        }
    }
}
