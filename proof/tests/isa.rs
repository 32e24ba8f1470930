//! Each instruction that pause has means what the processor's emulator (qemu-user) makes of it: from
//! random states, registers, flags and memory are compared. The emulator is asked by the debugger's
//! protocol ("GDB Remote Serial Protocol", in GDB's manual).

use anyhow::{Context, Result};
use proof::{
    Program,
    isa::{Flow, Instruction, Machine, Memory},
    platform::Platform,
    term::Term,
};
use sandbox::program::NATIVE_ARCH;
use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    os::unix::net::UnixStream,
    path::Path,
    process::{Child, Command, Stdio},
};

/// States for each instruction.
const ROUNDS: usize = 24;
/// Bytes of memory that instructions may write.
const WINDOW: usize = 1024;

/// The emulator, and where its packets have the first register, the address of the instruction, and
/// each flag: bytes from the start, and for a flag its bit in four bytes (`gdbstub.c` of each processor
/// in QEMU). The other registers follow the first in the order of the platform's row.
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
        "s390x" => ("s390x", 16, 8, vec![(0, 12), (0, 13)]),
        other => panic!("{other}: which emulator?"),
    }
}

/// A register or flag in a packet: where it begins, how many bytes it is in, its lowest bit there, and
/// how many bits it has.
#[derive(Clone, Copy)]
struct Place(&'static str, usize, usize, u32, u32);

/// A program in its emulator, stopped before its first instruction.
struct Bench {
    platform: &'static Platform,
    child: Child,
    stream: BufReader<UnixStream>,
    /// The registers, the flags, and the address of the instruction as `pc`.
    places: Vec<Place>,
    /// The addresses of the file and of the memory that may be written.
    file: u64,
    window: u64,
    /// The window as it must be after the instruction.
    memory: Vec<u8>,
    random: fastrand::Rng,
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// Reads what the emulator has, and writes to the copy of the window.
impl Memory for Bench {
    fn load(&mut self, address: &Term, bytes: u32) -> Result<Term> {
        let address = address.known().context("it is open")?;
        let found = hex::decode(self.ask(&format!("m{address:x},{bytes:x}")))?;
        Ok(Term::number(self.platform.number(&found) as i64, 8 * bytes))
    }

    fn store(&mut self, address: &Term, value: &Term) -> Result<()> {
        let address = address.known().context("it is open")?;
        let start = address.wrapping_sub(self.window) as usize;
        let bytes = bytes(self.platform, value);
        let place = self.memory.get_mut(start..).context("outside")?;
        let place = place.get_mut(..bytes.len()).context("outside")?;
        place.copy_from_slice(&bytes);
        Ok(())
    }

    fn any(&mut self, bits: u32) -> Term {
        Term::symbol("any", bits)
    }
}

/// The bytes of a known number in memory.
fn bytes(platform: &Platform, value: &Term) -> Vec<u8> {
    let bytes = platform.split(value).into_iter();
    bytes.map(|it| it.known().unwrap() as u8).collect()
}

impl Bench {
    fn new(program: &Program, directory: &Path) -> Self {
        let platform = program.platform;
        let (name, first, pc, flags) = layout(platform);
        let socket = directory.join(program.name().replace('/', "-"));
        let mut command = Command::new(format!("qemu-{name}-static"));
        command.arg("-g").arg(&socket);
        command.arg(&program.path);
        command.stdin(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn();
        let child = child.unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let mut stream = None;
        sandbox::wait_until("a socket", || {
            stream = UnixStream::connect(&socket).ok();
            stream.is_some()
        });
        let (word, bits) = (platform.bytes() as usize, platform.bits());
        let registers = platform.registers.split(' ').enumerate();
        let registers = registers.map(|(at, name)| Place(name, first + at * word, word, 0, bits));
        let flags = platform.flags.split_terminator(' ').zip(flags);
        let flags = flags.map(|(name, (at, low))| Place(name, at, 4, low, 1));
        let pc = [Place("pc", pc, word, 0, bits)];
        let mut bench = Self {
            platform,
            child,
            stream: BufReader::new(stream.unwrap()),
            places: registers.chain(flags).chain(pc).collect(),
            file: 0,
            window: 0,
            memory: Vec::new(),
            random: fastrand::Rng::with_seed(0),
        };
        // A debugger that does not ask for this is given other registers.
        let described = bench.ask("qXfer:features:read:target.xml:0,ffb");
        assert!(described.contains("<target>"), "{described}");
        let state = bench.bytes("g");
        let entry = proof::elf::load(platform, &program.bytes).unwrap().1 as u64;
        let place = |name| *bench.places.iter().find(|it| it.0 == name).unwrap();
        let address = |name| bench.get(&state, place(name)).known().unwrap();
        let (pc, stack) = (address("pc"), address(platform.stack()));
        bench.file = pc - (entry & !(platform.step as u64 - 1));
        bench.window = (stack - 4 * WINDOW as u64) & !15;
        let random: Vec<u8> = (0..WINDOW).map(|_| bench.random.u8(..)).collect();
        let write = format!("M{:x},{WINDOW:x}:{}", bench.window, hex::encode(random));
        assert_eq!(bench.ask(&write), "OK");
        bench
    }

    fn ask(&mut self, packet: &str) -> String {
        let sum = packet.bytes().fold(0, u8::wrapping_add);
        write!(self.stream.get_mut(), "+${packet}#{sum:02x}").unwrap();
        let mut answer = Vec::new();
        self.stream.read_until(b'#', &mut answer).unwrap();
        self.stream.read_exact(&mut [0; 2]).unwrap();
        let answer = String::from_utf8(answer).unwrap();
        answer.trim_matches(['+', '$', '#']).to_owned()
    }

    fn bytes(&mut self, packet: &str) -> Vec<u8> {
        let answer = self.ask(packet);
        hex::decode(&answer).unwrap_or_else(|_| panic!("{packet}: {answer}"))
    }

    fn get(&self, state: &[u8], Place(_, at, size, low, bits): Place) -> Term {
        let number = self.platform.number(&state[at..at + size]) >> low;
        Term::number(number as i64, bits)
    }

    fn set(&self, state: &mut [u8], Place(_, at, size, low, bits): Place, value: &Term) {
        let mask = u64::MAX >> (64 - bits) << low;
        let number = self.platform.number(&state[at..at + size]) & !mask;
        let number = number | value.known().unwrap() << low;
        let number = Term::number(number as i64, 8 * size as u32);
        state[at..at + size].copy_from_slice(&bytes(self.platform, &number));
    }

    /// A value for a register: with `reach` an address in the window, else a number at an edge, around
    /// one of the instruction's, or random.
    fn draw(&mut self, instruction: &Instruction, reach: bool) -> u64 {
        let random = &mut self.random;
        if reach {
            return self.window + WINDOW as u64 / 2 + 16 * random.u64(..16);
        }
        let bits = self.platform.bits();
        let mut pool = vec![0, 1, u64::MAX >> (64 - bits), 1 << (bits - 1)];
        pool.extend([0x7fff_ffff, 0x8000_0000, random.u64(..), random.u64(..)]);
        let numbers = instruction.text.split([' ', ',', '#']);
        for number in numbers.filter_map(|it| proof::isa::number(it).ok()) {
            let number = number as u64;
            pool.extend([number, number.wrapping_neg(), number & 0xffff_ffff]);
        }
        *random.choice(&pool).unwrap()
    }

    /// Compares one instruction in one state; false where the state does not suit it. With `reach`
    /// all registers lead to the window.
    fn suits(&mut self, instruction: &Instruction, reach: bool) -> bool {
        let platform = self.platform;
        let mut state = self.bytes("g");
        let at = self.file + instruction.at as u64;
        let mut registers = BTreeMap::new();
        for place in self.places.clone() {
            let value = match place {
                Place("pc", ..) => at,
                Place(.., 1) => self.random.u64(..),
                _ => self.draw(instruction, reach),
            };
            let value = Term::number(value as i64, place.4);
            self.set(&mut state, place, &value);
            registers.insert(place.0, value);
        }
        let window = format!("m{:x},{WINDOW:x}", self.window);
        self.memory = self.bytes(&window);
        let mut machine = Machine {
            platform,
            instruction,
            registers,
            file: Term::number(self.file as i64, platform.bits()),
            memory: self,
        };
        let Ok(flow) = machine.run() else {
            return false;
        };
        let behind = Term::number(at as i64 + instruction.length, platform.bits());
        let next = match flow {
            Flow::Branch(condition, to) if condition.known() == Some(1) => to,
            Flow::Branch(..) | Flow::Next => behind,
            Flow::Kernel => unreachable!("a system call is the kernel's"),
        };
        if next.known().unwrap() as i64 % platform.step != 0 {
            // It would leave Thumb, which is against the contract.
            return false;
        }
        let mut registers = machine.registers;
        registers.insert("pc", next);

        assert_eq!(self.ask(&format!("G{}", hex::encode(state))), "OK");
        let stopped = self.ask("s");
        let is_trap = stopped.starts_with("T05") || stopped == "S05";
        let what = format!(
            "{}: {:#x} {}",
            platform.name, instruction.at, instruction.text
        );
        assert!(is_trap, "{what}: {stopped}");
        let after = self.bytes("g");
        for place in &self.places {
            let value = &registers[place.0];
            // A flag may be left open.
            if value.known().is_some() || place.4 > 1 {
                assert_eq!(self.get(&after, *place), *value, "{what}: {}", place.0);
            }
        }
        assert!(self.bytes(&window) == self.memory, "{what}: memory");
        true
    }
}

#[test]
fn each_instruction_means_what_the_processor_makes_of_it() {
    let directory = tempfile::tempdir().unwrap();
    let mut programs = Program::all().unwrap();
    programs.retain(|it| it.name().starts_with("pause/"));
    programs.push(Program::read(NATIVE_ARCH, sandbox::built("release/pause")).unwrap());
    for program in &programs {
        let mut instructions = program.prove().unwrap().instructions;
        let calls = ["syscall", "int 0x80", "svc #0", "svc 0", "sc", "ecall"];
        instructions.retain(|_, it| !calls.contains(&&*it.text));
        let mut bench = Bench::new(program, directory.path());
        for instruction in instructions.values() {
            // In half of the states all registers lead to the window.
            let draws = (1..100 * ROUNDS).filter(|draw| bench.suits(instruction, draw % 2 == 0));
            let rounds = draws.take(ROUNDS).count();
            let (name, text) = (program.name(), &instruction.text);
            assert_eq!(rounds, ROUNDS, "{name}: too few states suit {text}");
        }
        let (name, count) = (program.platform.name, instructions.len());
        println!("{name}: {count} instructions, each from {ROUNDS} states");
    }
}
