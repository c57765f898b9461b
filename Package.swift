// swift-tools-version: 6.3
import PackageDescription

let settings: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .strictMemorySafety(),
    .treatAllWarnings(as: .error),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
    .enableUpcomingFeature("InferIsolatedConformances"),
]

// Arrows point down only; siblings do not import each other.
let package = Package(
    name: "fanmesh",
    products: [
        .executable(name: "fanmesh", targets: ["fanmesh"]),
        .executable(name: "fanmesh-bench", targets: ["fanmesh-bench"]),
    ],
    targets: [
        .executableTarget(name: "fanmesh", dependencies: ["FanCommand"], swiftSettings: settings),
        .executableTarget(
            name: "fanmesh-bench",
            dependencies: ["FanCore", "FanLab", "FanLink", "FanSystem", "CLinux", "CBench"],
            swiftSettings: settings
        ),
        .target(
            name: "FanCommand",
            dependencies: ["FanAgent", "FanCore", "FanLab", "FanLink", "FanProbe", "FanSystem", "CLinux"],
            swiftSettings: settings
        ),
        .target(name: "FanAgent", dependencies: ["FanCore", "FanSystem", "CLinux"], swiftSettings: settings),
        .target(
            name: "FanLab",
            dependencies: ["FanCore", "FanLink", "FanProbe", "FanSystem", "CLinux"],
            swiftSettings: settings
        ),
        .target(name: "FanProbe", dependencies: ["FanCore", "FanSystem", "CLinux"], swiftSettings: settings),
        .target(
            name: "FanLink",
            dependencies: ["FanCore", "FanSystem", "CNetlinkRoute", "CMnl", "CBPF", "CLinuxNetlink", "CLinux"],
            swiftSettings: settings
        ),
        .target(name: "FanCore", swiftSettings: settings),
        .target(
            name: "FanSystem",
            dependencies: ["CLinux"],
            path: "Sources/System/FanSystem",
            swiftSettings: settings
        ),
        .target(name: "CLinux", path: "Sources/System/CLinux"),
        .target(name: "CBench", path: "Sources/System/CBench"),
        .systemLibrary(
            name: "CNetlinkRoute",
            path: "Sources/System/CNetlinkRoute",
            pkgConfig: "libnl-route-3.0",
            providers: [.apt(["libnl-route-3-dev"])]
        ),
        .systemLibrary(name: "CLinuxNetlink", path: "Sources/System/CLinuxNetlink"),
        .systemLibrary(
            name: "CMnl",
            path: "Sources/System/CMnl",
            pkgConfig: "libmnl",
            providers: [.apt(["libmnl-dev"])]
        ),
        .systemLibrary(
            name: "CBPF",
            path: "Sources/System/CBPF",
            pkgConfig: "libbpf",
            providers: [.apt(["libbpf-dev"])]
        ),
        .testTarget(name: "FanCoreTests", dependencies: ["FanCore"], swiftSettings: settings),
        .testTarget(
            name: "FanLinkTests",
            dependencies: ["FanCore", "FanLink", "FanLab", "FanSystem", "CBPF", "CLinux"],
            swiftSettings: settings
        ),
        .testTarget(
            name: "FanProbeTests",
            dependencies: ["FanCore", "FanProbe", "FanLab", "CLinux"],
            swiftSettings: settings
        ),
        .testTarget(name: "FanAgentTests", dependencies: ["FanCore", "FanAgent"], swiftSettings: settings),
        .testTarget(
            name: "FanLabTests",
            dependencies: ["FanCore", "FanLab", "FanLink", "FanProbe", "CLinux", "fanmesh"],
            swiftSettings: settings
        ),
        .target(name: "CPacket", path: "Tests/System/CPacket"),
        .testTarget(
            name: "EndToEndTests",
            dependencies: ["FanCore", "FanLab", "FanLink", "FanProbe", "FanSystem", "CBPF", "CLinux", "CPacket"],
            swiftSettings: settings
        ),
        .testTarget(name: "FanCommandTests", dependencies: ["FanCore", "FanCommand"], swiftSettings: settings),
    ]
)
