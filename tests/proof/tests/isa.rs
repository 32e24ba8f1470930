//! Each instruction that pause has means what its emulator makes of it (qemu-user, of which one is
//! for each processor): from random states, all registers, flags and memory are compared, by way of
//! the debugger's protocol that it speaks ("GDB Remote Serial Protocol", in GDB's manual).

use anyhow::Context;
use proof::{
    Program,
    isa::{Flow, Instruction, Isa, Machine, Memory},
    kernel::Platform,
    term::Term,
};
use std::{
    collections::BTreeMap,
    io::{BufReader, Read, Write},
    ops::Range,
    os::unix::net::UnixStream,
    path::Path,
    process::{Child, Command, Stdio},
};

/// States for each instruction.
const ROUNDS: usize = 24;
/// Memory that instructions may reach, in bytes, around where registers lead.
const WINDOW: u64 = 1024;

/// The emulator, and where the protocol has what, in bytes: the first register, the rest of which
/// follow in the order of the platform's table; the address of the instruction; and for each flag the
/// four bytes that it is in, with its lowest bit there (`gdbstub.c` of each processor in QEMU).
fn layout(platform: &Platform) -> (&'static str, usize, usize, Vec<(usize, u32)>) {
    let x86 = |at| [0, 6, 7, 11].map(|bit| (at, bit)).to_vec();
    let top = |at| [31, 30, 29, 28].map(|bit| (at, bit)).to_vec();
    match platform.name {
        "386" => ("i386", 0, 32, x86(36)),
        "amd64" => ("x86_64", 0, 128, x86(136)),
        "arm" => ("arm", 0, 60, top(64)),
        "arm64" => ("aarch64", 0, 256, top(264)),
        "ppc64le" => ("ppc64le", 0, 256, [top(272), vec![(292, 31)]].concat()),
        "riscv64" => ("riscv64", 8, 256, Vec::new()),
        "s390x" => ("s390x", 16, 8, vec![(0, 12)]),
        other => panic!("{other}: which emulator?"),
    }
}

/// An emulator that waits before the first instruction.
struct Emulator {
    child: Child,
    stream: BufReader<UnixStream>,
    isa: &'static Isa,
    first: usize,
    pc: usize,
    flags: Vec<(usize, u32)>,
}

impl Emulator {
    fn start(platform: &'static Platform, program: &Path, folder: &Path) -> Self {
        let (name, first, pc, flags) = layout(platform);
        let socket = folder.join(platform.name);
        let mut command = Command::new(format!("qemu-{name}-static"));
        command.arg("-g").arg(&socket).arg(program);
        command.stdin(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn();
        let child = child.unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let mut stream = None;
        tests::wait_until("a socket", || {
            stream = UnixStream::connect(&socket).ok();
            stream.is_some()
        });
        let mut emulator = Self {
            child,
            stream: BufReader::new(stream.unwrap()),
            isa: platform.isa,
            first,
            pc,
            flags,
        };
        // Who does not ask for this is given other registers.
        let described = emulator.ask("qXfer:features:read:target.xml:0,ffb");
        assert!(described.contains("<target>"), "{described}");
        emulator
    }

    fn ask(&mut self, packet: &str) -> String {
        let sum = packet.bytes().fold(0, u8::wrapping_add);
        write!(self.stream.get_mut(), "+${packet}#{sum:02x}").unwrap();
        let mut answer = String::new();
        let mut byte = [0];
        loop {
            self.stream.read_exact(&mut byte).unwrap();
            match byte[0] {
                b'+' => {}
                b'$' => answer.clear(),
                b'#' => break,
                letter => answer.push(letter.into()),
            }
        }
        self.stream.read_exact(&mut [0; 2]).unwrap();
        answer
    }

    fn bytes(&mut self, packet: &str) -> Vec<u8> {
        let answer = self.ask(packet);
        let digits = |at| u8::from_str_radix(&answer[at..at + 2], 16);
        let bytes = (0..answer.len()).step_by(2).map(digits);
        let bytes: Result<_, _> = bytes.collect();
        bytes.unwrap_or_else(|_| panic!("{packet}: {answer}"))
    }

    fn put(&mut self, packet: &str, bytes: &[u8]) {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(self.ask(&format!("{packet}{hex}")), "OK");
    }

    /// Where a register is, its lowest bit there and its bits, by its index in the state.
    fn place(&self, index: usize) -> (Range<usize>, u32, u32) {
        let (_, bits) = self.isa.state().nth(index).unwrap();
        let word = self.isa.bits as usize / 8;
        let at = self.first + index * word;
        match index.checked_sub(self.isa.registers.split(' ').count()) {
            None => (at..at + word, 0, bits),
            Some(flag) => {
                let (at, low) = self.flags[flag];
                (at..at + 4, low, bits)
            }
        }
    }

    fn get(&self, state: &[u8], index: usize) -> u64 {
        let (place, low, bits) = self.place(index);
        self.isa.number(&state[place]) >> low & u64::MAX >> (64 - bits)
    }

    fn set(&self, state: &mut [u8], index: usize, value: u64) {
        let (place, low, bits) = self.place(index);
        let mask = u64::MAX >> (64 - bits) << low;
        let place = &mut state[place];
        let number = self.isa.number(place) & !mask | value << low & mask;
        self.isa.write(number, place);
    }

    /// Where the address of the instruction is.
    fn pc(&self) -> Range<usize> {
        self.pc..self.pc + self.isa.bits as usize / 8
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// Memory of known bytes: the file and the window.
struct Trial {
    bytes: BTreeMap<u64, u8>,
    base: u64,
    isa: &'static Isa,
}

impl Memory for Trial {
    fn load(&mut self, address: &Term, bytes: u32) -> anyhow::Result<Term> {
        let address = address.known().unwrap();
        let found = (0..bytes.into()).map(|at| self.bytes.get(&address.wrapping_add(at)).copied());
        let found: Vec<u8> = found.collect::<Option<_>>().context("outside")?;
        Ok(Term::number(self.isa.number(&found) as i64, 8 * bytes))
    }

    fn store(&mut self, address: &Term, value: &Term) -> anyhow::Result<()> {
        let address = address.known().unwrap();
        let mut bytes = vec![0; value.bits as usize / 8];
        self.isa.write(value.known().unwrap(), &mut bytes);
        for (at, byte) in (0..).zip(bytes) {
            let place = self.bytes.get_mut(&address.wrapping_add(at));
            *place.context("outside")? = byte;
        }
        Ok(())
    }

    fn address(&self, offset: u64) -> Term {
        Term::number(self.base.wrapping_add(offset) as i64, self.isa.bits)
    }

    fn any(&mut self, bits: u32) -> Term {
        Term::symbol("any", bits)
    }
}

/// The same numbers each time (SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let number = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let number = (number ^ number >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        number ^ number >> 31
    }

    fn pick(&mut self, of: &[u64]) -> u64 {
        of[(self.next() % of.len() as u64) as usize]
    }
}

/// A program at work in its emulator: where it lies, and where the window is.
struct Bench<'a> {
    emulator: Emulator,
    program: &'a Program,
    base: u64,
    window: u64,
    random: Random,
}

impl<'a> Bench<'a> {
    fn new(program: &'a Program, folder: &Path) -> Self {
        let platform = program.platform;
        let path = tests::built(&format!("pause/{}/pause", platform.name));
        let mut emulator = Emulator::start(platform, &path, folder);
        let state = emulator.bytes("g");
        let entry = proof::elf::entry(platform, &program.bytes).unwrap() as u64;
        let pc = platform.isa.number(&state[emulator.pc()]);
        let stack = platform.isa.index(platform.stack()).unwrap();
        Self {
            program,
            base: pc - (entry & !(platform.isa.step - 1)),
            window: (emulator.get(&state, stack) - 4 * WINDOW) & !15,
            random: Random(0),
            emulator,
        }
    }

    /// What a register may be, around the numbers of the instruction, or leading to memory.
    fn pool(&mut self, instruction: &Instruction, reach: bool) -> Vec<u64> {
        let random = &mut self.random;
        if reach {
            let middle = self.window + WINDOW / 2;
            return (0..4).map(|_| middle + 16 * (random.next() % 16)).collect();
        }
        let bits = self.program.platform.isa.bits;
        let mut pool = vec![0, 1, u64::MAX >> (64 - bits), 1 << (bits - 1)];
        pool.extend([0x7fff_ffff, 0x8000_0000]);
        pool.extend([random.next(), random.next(), random.next()]);
        let numbers = instruction.operands.iter();
        for number in numbers.filter_map(|it| proof::isa::number(it).ok()) {
            let number = number as u64;
            pool.extend([number, number.wrapping_neg(), number & 0xffff_ffff]);
        }
        pool
    }

    /// Compares one instruction in one state; false where the state does not suit it. With `reach`
    /// all registers lead to memory.
    fn suits(&mut self, instruction: &Instruction, reach: bool) -> bool {
        let (program, isa) = (self.program, self.program.platform.isa);
        let pool = self.pool(instruction, reach);
        let mut state = self.emulator.bytes("g");
        let mut registers = Vec::new();
        for (index, (_, bits)) in isa.state().enumerate() {
            let random = &mut self.random;
            let value = match bits {
                0..8 => random.next(),
                _ => random.pick(&pool),
            };
            self.emulator.set(&mut state, index, value);
            registers.push(Term::number(value as i64, bits));
        }
        let pc = self.emulator.pc();
        isa.write(self.base + instruction.at, &mut state[pc.clone()]);
        let mut trial = Trial {
            bytes: (self.base..).zip(program.bytes.iter().copied()).collect(),
            base: self.base,
            isa,
        };
        let window = self.window..self.window + WINDOW;
        if reach {
            let bytes: Vec<u8> = window.clone().map(|_| self.random.next() as u8).collect();
            let packet = format!("M{:x},{WINDOW:x}:", window.start);
            self.emulator.put(&packet, &bytes);
            trial.bytes.extend(window.clone().zip(bytes));
        }

        let mut machine = Machine {
            isa,
            instruction,
            registers: &mut registers,
            memory: &mut trial,
        };
        let Ok(flow) = machine.run() else {
            return false;
        };
        let next = match flow {
            Flow::Jump(to) => to.known(),
            Flow::Branch(condition, to) if condition.known() == Some(1) => to.known(),
            Flow::Branch(..) | Flow::Next => Some(self.base + instruction.at + instruction.length),
            Flow::Kernel => unreachable!("a system call is the kernel's"),
        };
        let next = next.unwrap();
        if next % isa.step != 0 {
            // It would leave Thumb, which is against the contract.
            return false;
        }

        self.emulator.put("G", &state);
        let stopped = self.emulator.ask("s");
        let (name, at, text) = (program.name(), instruction.at, instruction.text());
        let what = format!("{name}: {at:#x} {text}");
        let is_trap = stopped.starts_with("T05") || stopped == "S05";
        assert!(is_trap, "{what}: {stopped}");
        let after = self.emulator.bytes("g");
        assert_eq!(isa.number(&after[pc]), next, "{what}: where it goes on");
        let emulator = &mut self.emulator;
        for (index, (name, bits)) in isa.state().enumerate() {
            // A flag may be left open.
            match registers[index].known() {
                Some(value) => assert_eq!(emulator.get(&after, index), value, "{what}: {name}"),
                None => assert!(bits < 8, "{what}: {name} is not known"),
            }
        }
        if reach {
            let packet = format!("m{:x},{WINDOW:x}", window.start);
            let memory = emulator.bytes(&packet);
            let expected = trial.bytes.range(window).map(|it| it.1);
            assert!(expected.eq(&memory), "{what}: memory");
        }
        true
    }
}

#[test]
fn each_instruction_means_what_the_processor_makes_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let programs = Program::all().unwrap();
    for program in programs.iter().filter(|it| it.folder == "pause") {
        let mut instructions = program.prove().unwrap().instructions;
        let calls = ["syscall", "int", "svc", "sc", "ecall"];
        instructions.retain(|_, it| !calls.contains(&&*it.name));
        let mut bench = Bench::new(program, folder.path());
        for instruction in instructions.values() {
            // Half of the draws have all registers lead to memory.
            let draws = (1..100 * ROUNDS).filter(|draw| bench.suits(instruction, draw % 2 == 0));
            let rounds = draws.take(ROUNDS).count();
            let (name, text) = (program.name(), instruction.text());
            assert_eq!(rounds, ROUNDS, "{name}: too few states suit {text}");
        }
        let (name, count) = (program.platform.name, instructions.len());
        println!("{name}: {count} instructions, each from {ROUNDS} states");
    }
}
