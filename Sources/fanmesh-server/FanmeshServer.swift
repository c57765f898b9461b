internal import FanServer

/// The daemon that faces the network.
@main
struct FanmeshServer {
    static func main() {
        ServerProgram.run(CommandLine.arguments)
    }
}
