import Testing

@testable import FanLink

@Suite struct AssemblerTests {
    /// The eight bytes of each instruction as one number: code, registers, offset, immediate from the left.
    private func words(_ build: (inout BPFAssembler) -> Void) -> [UInt64] {
        var assembler = BPFAssembler()
        build(&assembler)
        return assembler.assemble().instructions.map { instruction in
            UInt64(instruction.code) << 56
                | UInt64(instruction.registers) << 48
                | UInt64(UInt16(bitPattern: instruction.offset)) << 32
                | UInt64(UInt32(bitPattern: instruction.immediate))
        }
    }

    @Test func arithmetic() {
        let code = words {
            $0.move(.r6, .r1)
            $0.set(.r0, -1)
            $0.compute(.add, .r2, .immediate(-4))
            $0.compute(.add, .r2, .register(.r3), .bits32)
            $0.compute(.and, .r4, .bits(0xff00_0000), .bits32)
            $0.compute(.or, .r9, .bits(0xac1f_0000), .bits32)
            $0.compute(.shiftLeft, .r8, .immediate(8), .bits32)
            $0.compute(.shiftRight, .r8, .immediate(20), .bits32)
            $0.swapNetworkOrder(.r5)
        }
        #expect(
            code == [
                0xbf16_0000_0000_0000, 0xb700_0000_ffff_ffff, 0x0702_0000_ffff_fffc, 0x0c32_0000_0000_0000,
                0x5404_0000_ff00_0000, 0x4409_0000_ac1f_0000, 0x6408_0000_0000_0008, 0x7408_0000_0000_0014,
                0xdc05_0000_0000_0020,
            ]
        )
    }

    @Test func memory() {
        let code = words {
            $0.load(.byte, .r2, from: .r7, 14)
            $0.load(.half, .r2, from: .r7, 12)
            $0.load(.word, .r9, from: .r7, 30)
            $0.load(.double, .r1, from: .r0, 0)
            $0.store(.double, .r1, to: .r0, 0)
            $0.store(.word, .r9, to: .frame, -40)
            $0.store(.byte, immediate: 64, to: .frame, -23)
            $0.store(.half, immediate: 1, to: .frame, -2)
            $0.store(.word, immediate: 15_728_640, to: .frame, -44)
            $0.store(.double, immediate: 0, to: .frame, -32)
        }
        #expect(
            code == [
                0x7172_000e_0000_0000, 0x6972_000c_0000_0000, 0x6179_001e_0000_0000, 0x7901_0000_0000_0000,
                0x7b10_0000_0000_0000, 0x639a_ffd8_0000_0000, 0x720a_ffe9_0000_0040, 0x6a0a_fffe_0000_0001,
                0x620a_ffd4_00f0_0000, 0x7a0a_ffe0_0000_0000,
            ]
        )
    }

    @Test func jumpsForwardsAndBackwards() {
        let code = words {
            let start = $0.label()
            let end = $0.label()
            $0.place(start)
            $0.jump(to: end, if: .r2, .notEqual, .immediate(8))
            $0.jump(to: end, if: .r4, .greater, .register(.r3), .bits64)
            $0.jump(to: end, if: .r0, .equal, .immediate(0), .bits64)
            $0.jump(to: start)
            $0.place(end)
            $0.exit()
        }
        #expect(
            code == [
                0x5602_0003_0000_0008, 0x2d34_0002_0000_0000, 0x1500_0001_0000_0000, 0x0500_fffc_0000_0000,
                0x9500_0000_0000_0000,
            ]
        )
    }

    @Test func callsAndMaps() {
        var assembler = BPFAssembler()
        let function = assembler.label()
        assembler.call(function)
        assembler.loadMap(.r1)
        assembler.exit()
        assembler.place(function)
        var inner = BPFAssembler()
        inner.loadMap(.r2)
        inner.exit()
        assembler.append(inner.assemble())
        let code = assembler.assemble()
        #expect(code.mapReferences == [1, 4])
        let bound = code.bound(toMap: 7, far: -1)
        #expect(bound.map(\.code) == [0x85, 0x18, 0, 0x95, 0x18, 0, 0x95])
        #expect(bound.map(\.registers) == [0x10, 0x11, 0, 0, 0x12, 0, 0])
        #expect(bound.map(\.immediate) == [3, 7, 0, 0, 7, 0, 0])
    }
}
