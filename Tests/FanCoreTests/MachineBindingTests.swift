import FanCore
import Testing

@Suite struct MachineBindingTests {
    private let here = MachineBinding(machineID: "0123456789abcdef0123456789abcdef", productUUID: "AA-BB")

    @Test func isTheSameInEveryVersion() {
        let text = "machine-id fb8ee89f7b7f2881\nproduct-uuid 6f35e585062fa635\n"
        #expect(here.text == text)
        #expect(MachineBinding(parsing: text) == here)
        #expect(MachineBinding(machineID: nil, productUUID: nil).text == "")
    }

    @Test func aMarkThatBothHaveDecides() {
        let copy = MachineBinding(machineID: "0123456789abcdef0123456789abcdef", productUUID: "aa-cc")
        let fresh = MachineBinding(machineID: "ffff", productUUID: "aa-bb")
        #expect(copy.contradicts(here) && here.contradicts(copy))
        #expect(fresh.contradicts(here))
        #expect(!here.contradicts(here))
        // Firmware writes the same id in small letters or in capitals.
        #expect(!MachineBinding(machineID: "0123456789abcdef0123456789abcdef", productUUID: "aa-bb").contradicts(here))
    }

    @Test func aMarkThatOneOfThemLacksSaysNothing() {
        let part = MachineBinding(machineID: nil, productUUID: "AA-BB")
        #expect(!part.contradicts(here) && !here.contradicts(part))
        let nothing = MachineBinding(machineID: nil, productUUID: nil)
        #expect(!nothing.contradicts(here) && !here.contradicts(nothing))
        #expect(part.merged(over: here) == here)
        #expect(here.merged(over: part) == here)
        #expect(MachineBinding(parsing: "junk\nproduct-uuid\n\n1 2 3\n") == nothing)
    }
}
