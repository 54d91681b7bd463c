//! A few eBPF instructions, written one after the other. Every doubt about a packet leaves a program by the same door:
//! the packet goes on as if the program were not there. So there are no labels.

use std::os::fd::{AsRawFd, BorrowedFd};

/// One instruction, as the kernel reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub(super) struct Instruction {
    code: u8,
    /// The source in the upper half, the destination in the lower.
    registers: u8,
    offset: i16,
    immediate: i32,
}

/// A register: 0 is a call's result, 1 to 5 its arguments and lost by it, 6 to 9 are kept, 10 is the stack's end.
pub(super) type Register = u8;

/// How much a load or store moves.
#[derive(Clone, Copy)]
pub(super) enum Size {
    Word = 0x00,
    Half = 0x08,
    Byte = 0x10,
    Double = 0x18,
}

/// Unsigned comparisons.
#[derive(Clone, Copy)]
pub(super) enum Is {
    Equal = 0x10,
    Above = 0x20,
    Other = 0x50,
    Below = 0xa0,
}

/// Arithmetic in 64 bits.
#[derive(Clone, Copy)]
pub(super) enum Do {
    Add = 0x00,
    Subtract = 0x10,
    And = 0x50,
    ShiftRight = 0x70,
    Xor = 0xa0,
    Move = 0xb0,
}

/// Bit of an operand that is a register, not a number.
const OF_REGISTER: u8 = 0x08;

/// A program under way.
#[derive(Default)]
pub(super) struct Program {
    code: Vec<Instruction>,
    /// The jumps to the door.
    doubts: Vec<usize>,
}

impl Program {
    fn add(&mut self, code: u8, to: Register, from: Register, offset: i16, immediate: i32) {
        self.code.push(Instruction { code, registers: from << 4 | to, offset, immediate });
    }

    /// `to = to OPERATION number`.
    pub(super) fn number(&mut self, operation: Do, to: Register, number: i32) {
        self.add(0x07 | operation as u8, to, 0, 0, number);
    }

    /// `to = to OPERATION from`.
    pub(super) fn register(&mut self, operation: Do, to: Register, from: Register) {
        self.add(0x07 | OF_REGISTER | operation as u8, to, from, 0, 0);
    }

    /// Turns the lower 16 bits round between network and host, and clears the rest.
    pub(super) fn network_half(&mut self, register: Register) {
        self.add(0xdc, register, 0, 0, 16);
    }

    /// `to = *(from + offset)`.
    pub(super) fn load(&mut self, size: Size, to: Register, from: Register, offset: i16) {
        self.add(0x61 | size as u8, to, from, offset, 0);
    }

    /// `*(to + offset) = from`.
    pub(super) fn store(&mut self, size: Size, to: Register, offset: i16, from: Register) {
        self.add(0x63 | size as u8, to, from, offset, 0);
    }

    /// `*(to + offset) = number`.
    pub(super) fn store_number(&mut self, size: Size, to: Register, offset: i16, number: i32) {
        self.add(0x62 | size as u8, to, 0, offset, number);
    }

    /// Leaves the packet alone if `register` is so, compared with a number.
    pub(super) fn doubt(&mut self, register: Register, is: Is, number: i32) {
        self.doubts.push(self.code.len());
        self.add(0x05 | is as u8, register, 0, 0, number);
    }

    /// Leaves the packet alone if `register` is so, compared with another.
    pub(super) fn doubt_register(&mut self, register: Register, is: Is, other: Register) {
        self.doubts.push(self.code.len());
        self.add(0x05 | OF_REGISTER | is as u8, register, other, 0, 0);
    }

    /// Calls one of the kernel's functions for programs.
    pub(super) fn call(&mut self, function: i32) {
        self.add(0x85, 0, 0, 0, function);
    }

    /// `to` becomes the map.
    pub(super) fn map(&mut self, to: Register, map: BorrowedFd<'_>) {
        /// BPF_PSEUDO_MAP_FD: the number is a descriptor.
        const DESCRIPTOR: u8 = 1;
        self.add(0x18, to, DESCRIPTOR, 0, map.as_raw_fd());
        self.add(0, 0, 0, 0, 0);
    }

    /// Ends with what register 0 holds.
    pub(super) fn end(&mut self) {
        self.add(0x95, 0, 0, 0, 0);
    }

    /// The whole program; `pass` is the verdict that leaves a packet alone.
    pub(super) fn finish(mut self, pass: i32) -> Vec<Instruction> {
        let door = self.code.len();
        self.number(Do::Move, 0, pass);
        self.end();
        for jump in self.doubts {
            self.code[jump].offset = (door - jump - 1) as i16;
        }
        self.code
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_doubt_leads_to_the_same_door() {
        let mut program = Program::default();
        program.doubt(1, Is::Equal, 7);
        program.number(Do::Move, 0, 3);
        program.doubt_register(1, Is::Above, 2);
        program.end();
        let code = program.finish(2);
        assert_eq!([code[0].offset, code[2].offset], [3, 1]);
        assert_eq!(code[4], Instruction { code: 0xb7, registers: 0, offset: 0, immediate: 2 });
        assert_eq!(code[5].code, 0x95);
    }
}
