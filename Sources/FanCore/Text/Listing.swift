extension Array<String> {
    /// The first few, with commas, and how many there are beside them: "node1, node2 and 7 more".
    ///
    /// - Parameter count: how many are named.
    /// - Returns: the text; empty for an empty list.
    public func listed(atMost count: Int = 5) -> String {
        let shown = prefix(count).joined(separator: ", ")
        return self.count > count ? "\(shown) and \(self.count - count) more" : shown
    }
}
