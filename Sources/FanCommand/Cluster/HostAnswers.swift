internal import FanCore
internal import FanSystem
internal import Glibc

/// The answers of a host's own file, `/etc/fanmesh/fanmesh.yaml`, which `init` and `join` take unless told otherwise.
enum HostAnswers {
    static let option = CommandOption(
        long: "config",
        kind: .value("FILE"),
        help: "this host's answers to what is not said here, in the form of a preseed",
        defaultValue: "/etc/fanmesh/fanmesh.yaml",
        variable: "FANMESH_CONFIG",
        completion: .files
    )

    /// Reads them; a host without such a file has none.
    static func read(_ invocation: Invocation) throws(CommandFailure) -> Preseed {
        let path = invocation.value(option) ?? ""
        let what = "the file '\(path)'"
        let bytes: [UInt8] = try CommandFailure.reading(what) {
            if let text = try File.read(path) { return Array(text.utf8) }
            guard !invocation.isRaised(option) else { throw FileError(operation: "open", path: path, code: ENOENT) }
            return []
        }
        // As it is installed it holds remarks alone.
        let says = bytes.split(separator: UInt8(ascii: "\n")).contains { line in
            line.first { $0 != UInt8(ascii: " ") && $0 != UInt8(ascii: "\r") }.map { $0 != UInt8(ascii: "#") } ?? false
        }
        guard says else { return Preseed() }
        let answers = try preseed(bytes, what)
        guard answers.clusterToken == nil else {
            throw .badInput(
                "\(what): cluster_token does not belong there: it works once, and others may read the file",
                remedy: "remove it, and give the token to 'fanmesh join -' on standard input"
            )
        }
        return answers
    }

    /// Understands a preseed; errors name `what` and the line.
    static func preseed(_ bytes: [UInt8], _ what: String) throws(CommandFailure) -> Preseed {
        let yaml = try CommandFailure.reading(what) { try YAMLDocument(parsing: bytes) }
        do throws(DocumentError) { return try Preseed(yaml.document) } catch {
            throw .badInput("\(what): \(yaml.describe(error))")
        }
    }
}
