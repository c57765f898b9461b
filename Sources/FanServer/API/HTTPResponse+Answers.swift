internal import FanCore
internal import FanHTTP

extension HTTPResponse {
    /// An answer of a route: with the tag of what it shows, when that may be edited.
    init(status: Int, answer: Document) {
        self.init(status: status, document: answer)
        if let tag = EntityTag(answer: answer) { headers["ETag"] = tag.text }
    }
}

extension ClusterError {
    /// The refusal as an answer.
    var response: HTTPResponse {
        var response = HTTPResponse(answer)
        if isSettled { response.headers[LeaderLink.settledHeader] = "1" }
        return response
    }
}
