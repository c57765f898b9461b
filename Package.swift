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
        .executable(name: "fanmesh-server", targets: ["fanmesh-server"]),
        .executable(name: "fanmesh-bench", targets: ["fanmesh-bench"]),
    ],
    targets: [
        .executableTarget(name: "fanmesh", dependencies: ["FanCommand"], swiftSettings: settings),
        // The daemon that faces the network has an executable of its own: what runs as root links no TLS and no database.
        .executableTarget(name: "fanmesh-server", dependencies: ["FanServer"], swiftSettings: settings),
        .executableTarget(
            name: "fanmesh-bench",
            dependencies: [
                "FanCore", "FanHTTP", "FanTLS", "FanStore", "FanLab", "FanLink", "FanSystem", "CLinux", "CBench",
            ],
            swiftSettings: settings
        ),
        .target(
            name: "FanCommand",
            dependencies: [
                "FanAgent", "FanStore", "FanCore", "FanLab", "FanLink", "FanProbe", "FanSystem", "CYAML", "CLinux",
            ],
            swiftSettings: settings
        ),
        .target(
            name: "FanAgent",
            dependencies: ["FanStore", "FanProbe", "FanLink", "FanHTTP", "FanCore", "FanSystem", "CLinux", "CConfine"],
            swiftSettings: settings
        ),
        .target(
            name: "FanServer",
            dependencies: ["FanDatabase", "FanTLS", "FanHTTP", "FanCore", "FanSystem", "CLinux"],
            swiftSettings: settings
        ),
        .target(
            name: "FanStore",
            dependencies: ["FanHTTP", "FanCore", "FanSystem", "CLinux"],
            swiftSettings: settings
        ),
        .target(
            name: "FanDatabase",
            dependencies: ["FanCore", "FanSystem", "CCowSQL", "CRaftHeap", "CLinux"],
            swiftSettings: settings
        ),
        .target(
            name: "FanTLS",
            dependencies: ["FanHTTP", "FanCore", "FanSystem", "CGnuTLS", "CMicroHTTPD", "CLinux"],
            swiftSettings: settings
        ),
        .target(name: "FanHTTP", dependencies: ["FanCore", "FanSystem", "CLinux"], swiftSettings: settings),
        .target(
            name: "FanLab",
            dependencies: ["FanStore", "FanCore", "FanLink", "FanProbe", "FanSystem", "CLinux"],
            swiftSettings: settings
        ),
        .target(name: "FanProbe", dependencies: ["FanCore", "FanSystem", "CLinux"], swiftSettings: settings),
        .target(
            name: "FanLink",
            dependencies: ["FanCore", "FanSystem", "CMnl", "CBPF", "CLinuxNetlink", "CLinux"],
            swiftSettings: settings
        ),
        .target(name: "FanCore", swiftSettings: settings),
        .target(
            name: "FanSystem",
            dependencies: ["FanCore", "CLinux"],
            path: "Sources/System/FanSystem",
            swiftSettings: settings
        ),
        .target(name: "CLinux", path: "Sources/System/CLinux"),
        .target(name: "CConfine", path: "Sources/System/CConfine"),
        .target(name: "CBench", path: "Sources/System/CBench"),
        .target(name: "CRaftHeap", path: "Sources/System/CRaftHeap", linkerSettings: [.linkedLibrary("raft")]),
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
        .systemLibrary(
            name: "CGnuTLS",
            path: "Sources/System/CGnuTLS",
            pkgConfig: "gnutls",
            providers: [.apt(["libgnutls28-dev"])]
        ),
        .systemLibrary(
            name: "CMicroHTTPD",
            path: "Sources/System/CMicroHTTPD",
            pkgConfig: "libmicrohttpd",
            providers: [.apt(["libmicrohttpd-dev"])]
        ),
        .systemLibrary(
            name: "CCowSQL",
            path: "Sources/System/CCowSQL",
            pkgConfig: "cowsql",
            providers: [.apt(["libcowsql-dev"])]
        ),
        .systemLibrary(
            name: "CYAML",
            path: "Sources/System/CYAML",
            pkgConfig: "yaml-0.1",
            providers: [.apt(["libyaml-dev"])]
        ),
        // What several of the test targets below need.
        .target(
            name: "TestSupport",
            dependencies: ["FanCore", "FanHTTP", "FanLab", "FanLink", "FanStore", "FanSystem", "CLinux"],
            path: "Tests/TestSupport",
            swiftSettings: settings
        ),
        .testTarget(
            name: "FanHTTPTests",
            dependencies: ["TestSupport", "FanCore", "FanHTTP", "FanTLS", "FanLab", "FanSystem", "CGnuTLS", "CLinux"],
            swiftSettings: settings
        ),
        .testTarget(
            name: "FanDatabaseTests",
            dependencies: [
                "TestSupport", "FanCore", "FanDatabase", "FanSystem", "CLinux", "CRaftHeap", "database-node",
            ],
            swiftSettings: settings
        ),
        // One database node in a process of its own, for tests that kill it.
        .executableTarget(
            name: "database-node",
            dependencies: ["FanDatabase", "FanSystem", "CLinux"],
            path: "Tests/System/DatabaseNode",
            swiftSettings: settings
        ),
        .testTarget(
            name: "FanServerTests",
            dependencies: [
                "TestSupport", "FanCore", "OpenAPIValidator", "FanServer", "FanStore", "FanDatabase", "FanHTTP",
                "FanTLS",
                "FanSystem", "CLinux",
            ],
            swiftSettings: settings
        ),
        .testTarget(
            name: "ClusterTests",
            dependencies: [
                "TestSupport", "FanCore", "OpenAPIValidator", "FanHTTP", "FanTLS", "FanStore", "FanDatabase", "FanLab",
                "FanLink",
                "FanSystem", "CLinux", "CConfine",
            ],
            swiftSettings: settings
        ),
        .target(
            name: "OpenAPIValidator",
            dependencies: ["FanCore"],
            path: "Tests/System/OpenAPIValidator",
            swiftSettings: settings
        ),
        .testTarget(
            name: "FanCoreTests",
            dependencies: ["TestSupport", "FanCore", "OpenAPIValidator"],
            swiftSettings: settings
        ),
        .testTarget(
            name: "FanLinkTests",
            dependencies: ["TestSupport", "FanCore", "FanLink", "FanLab", "FanSystem", "CBPF", "CLinux"],
            swiftSettings: settings
        ),
        .testTarget(
            name: "FanProbeTests",
            dependencies: ["TestSupport", "FanCore", "FanProbe", "FanLab", "CLinux"],
            swiftSettings: settings
        ),
        .testTarget(
            name: "FanAgentTests",
            dependencies: ["TestSupport", "FanCore", "FanAgent", "FanHTTP", "FanStore", "FanSystem"],
            swiftSettings: settings
        ),
        .testTarget(
            name: "FanLabTests",
            dependencies: ["TestSupport", "FanCore", "FanLab", "FanLink", "FanProbe", "CLinux", "fanmesh"],
            swiftSettings: settings
        ),
        .target(name: "CPacket", path: "Tests/System/CPacket"),
        .testTarget(
            name: "EndToEndTests",
            dependencies: [
                "TestSupport", "FanCore", "FanLab", "FanLink", "FanProbe", "FanSystem", "CBPF", "CLinux", "CPacket",
            ],
            swiftSettings: settings
        ),
        .testTarget(
            name: "FanCommandTests",
            dependencies: ["TestSupport", "FanCore", "FanCommand", "FanHTTP", "FanStore", "FanSystem", "CLinux"],
            swiftSettings: settings
        ),
    ]
)
