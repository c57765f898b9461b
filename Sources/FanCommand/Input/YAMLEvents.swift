internal import CYAML

/// The events of a YAML text, as libyaml finds them.
///
/// It is a class because libyaml keeps the parser's address and reads the text while it goes on.
@safe final class YAMLEvents {
    /// What comes next in the text.
    enum Kind: Equatable {
        case streamStart
        case streamEnd
        case documentStart
        case documentEnd
        /// A word, and whether it was written without quotes.
        case scalar(String, isPlain: Bool)
        case listStart
        case listEnd
        case objectStart
        case objectEnd
        case alias
    }

    /// One event.
    struct Event: Equatable {
        var kind: Kind
        /// The line it begins on, from 1.
        var line: Int
        /// What it carries that is not accepted here, in the plural.
        var extra: String?
    }

    private let parser = UnsafeMutablePointer<yaml_parser_t>.allocate(capacity: 1)
    private let text: UnsafeMutableBufferPointer<UInt8>

    /// Begins to read a text.
    init(_ bytes: [UInt8]) {
        // One byte more, so that there is an address for an empty text too.
        unsafe text = .allocate(capacity: bytes.count + 1)
        _ = unsafe text.initialize(from: bytes + [0])
        // It fails only for want of memory, which Swift does not survive either.
        precondition(unsafe yaml_parser_initialize(parser) == 1, "no memory for a YAML parser")
        unsafe yaml_parser_set_encoding(parser, YAML_UTF8_ENCODING)
        unsafe yaml_parser_set_input_string(parser, text.baseAddress, bytes.count)
    }

    deinit {
        unsafe yaml_parser_delete(parser)
        unsafe parser.deallocate()
        unsafe text.deallocate()
    }

    /// The next event.
    ///
    /// - Throws: what libyaml says against the text.
    func next() throws(YAMLError) -> Event {
        var event = unsafe yaml_event_t()
        guard unsafe yaml_parser_parse(parser, &event) == 1 else { throw failure }
        defer { unsafe yaml_event_delete(&event) }
        return try unsafe read(event)
    }

    private func read(_ event: yaml_event_t) throws(YAMLError) -> Event {
        let line = unsafe Int(event.start_mark.line) + 1
        var anchor: UnsafeMutablePointer<yaml_char_t>?
        var tag: UnsafeMutablePointer<yaml_char_t>?
        let kind: Kind
        switch unsafe event.type {
        case YAML_STREAM_START_EVENT: kind = .streamStart
        case YAML_STREAM_END_EVENT: kind = .streamEnd
        case YAML_DOCUMENT_START_EVENT: kind = .documentStart
        case YAML_DOCUMENT_END_EVENT: kind = .documentEnd
        case YAML_ALIAS_EVENT: return Event(kind: .alias, line: line, extra: "aliases")
        case YAML_SEQUENCE_START_EVENT:
            kind = .listStart
            unsafe (anchor, tag) = unsafe (event.data.sequence_start.anchor, event.data.sequence_start.tag)
        case YAML_SEQUENCE_END_EVENT: kind = .listEnd
        case YAML_MAPPING_START_EVENT:
            kind = .objectStart
            unsafe (anchor, tag) = unsafe (event.data.mapping_start.anchor, event.data.mapping_start.tag)
        case YAML_MAPPING_END_EVENT: kind = .objectEnd
        case YAML_SCALAR_EVENT:
            let scalar = unsafe event.data.scalar
            let bytes = unsafe UnsafeBufferPointer(start: scalar.value, count: scalar.length)
            kind = unsafe .scalar(
                String(decoding: bytes, as: UTF8.self),
                isPlain: scalar.style == YAML_PLAIN_SCALAR_STYLE
            )
            unsafe (anchor, tag) = unsafe (scalar.anchor, scalar.tag)
        default: throw YAMLError("cannot be read", line: line)
        }
        let extra = unsafe anchor != nil ? "anchors" : unsafe tag != nil ? "tags" : nil
        return Event(kind: kind, line: line, extra: extra)
    }

    private var failure: YAMLError {
        let state = unsafe parser.pointee
        let problem = unsafe state.problem.map { unsafe String(cString: $0) } ?? "it cannot be read"
        let context = unsafe state.context.map { unsafe String(cString: $0) + ", " } ?? ""
        // The reader's own errors (bytes that are no UTF-8, control characters) have an offset only.
        guard unsafe state.error != YAML_READER_ERROR else {
            let before = unsafe text.prefix(Int(state.problem_offset))
            let line = unsafe before.count { $0 == UInt8(ascii: "\n") } + 1
            return YAMLError(problem, line: line)
        }
        return unsafe YAMLError(context + problem, line: Int(state.problem_mark.line) + 1)
    }
}
