import FanCore
import FanLab
import Glibc
import Testing

/// Whether the tests may make namespaces.
let isRoot = geteuid() == 0
