internal import FanHTTP

extension HTTPResponse {
    /// An answer whose JSON is there already.
    init(status: Int, json: [UInt8]) {
        self.init(status: status, headers: ["Content-Type": "application/json"], body: json)
    }
}
