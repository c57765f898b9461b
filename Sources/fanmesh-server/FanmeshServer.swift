@main struct FanmeshServer { static func main() {} }
