internal import FanCommand

/// The executable; everything is in FanCommand.
@main
struct Fanmesh {
    static func main() {
        FanmeshProgram.main()
    }
}
