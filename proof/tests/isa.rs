//! Each instruction that pause has means what the processor's emulator (qemu-user) makes of it: from
//! random states, registers, flags and memory are compared. The emulator is asked by the debugger's
//! protocol ("GDB Remote Serial Protocol", in GDB's manual).

use anyhow::{Context, Result};
use proof::{
    Program, elf,
    isa::{Flow, Instruction, Machine, Memory, Registers, number},
    platform::Platform,
    term::Term,
};
use sandbox::{built, program::NATIVE_ARCH, wait_until};
use std::{
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
        "loong64" => ("loongarch64", 8, 264, Vec::new()),
        "ppc64le" => ("ppc64le", 0, 256, [top(272), vec![(292, 31)]].concat()),
        "riscv64" => ("riscv64", 8, 256, Vec::new()),
        "s390x" => ("s390x", 16, 8, vec![(0, 12), (0, 13)]),
        other => panic!("{other}: which emulator?"),
    }
}

/// A register or flag in a packet: where it begins, how many bytes it is in, its lowest bit there, and
/// how many bits it has.
type Place = (&'static str, usize, usize, u32, u32);

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
        let bytes = self.platform.bytes_of(value);
        let place = start..start.saturating_add(bytes.len());
        let place = self.memory.get_mut(place).context("outside")?;
        place.copy_from_slice(&bytes);
        Ok(())
    }

    fn any(&mut self, bits: u32) -> Term {
        Term::symbol("any", bits)
    }
}

impl Bench {
    fn new(program: &Program, directory: &Path) -> Self {
        let platform = program.platform;
        let (name, first, pc, flags) = layout(platform);
        let socket = directory.join(program.name().replace('/', "-"));
        let mut command = Command::new(format!("qemu-{name}-static"));
        command.arg("-g").arg(&socket).arg(&program.path);
        let child = command.stdin(Stdio::null()).stderr(Stdio::null()).spawn();
        let child = child.unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let mut stream = None;
        wait_until("its socket is there", || {
            stream = UnixStream::connect(&socket).ok();
            stream.is_some()
        });
        let (word, bits) = (platform.bytes() as usize, platform.bits());
        let registers = platform.registers.split(' ').enumerate();
        let registers = registers.map(|(at, name)| (name, first + at * word, word, 0, bits));
        let flags = platform.flags.split_terminator(' ').zip(flags);
        let flags = flags.map(|(name, (at, low))| (name, at, 4, low, 1));
        // QEMU 7.2 writes loong64's a word further than it reads it.
        let early = ("pc", pc - word, word, 0, bits);
        let early = (platform.name == "loong64").then_some(early);
        let pc = ("pc", pc, word, 0, bits);
        let mut bench = Self {
            platform,
            child,
            stream: BufReader::new(stream.unwrap()),
            places: registers.chain(flags).chain(early).chain([pc]).collect(),
            file: 0,
            window: 0,
            memory: vec![0; WINDOW],
            random: fastrand::Rng::with_seed(0),
        };
        // A debugger that does not ask for this is given other registers.
        let described = bench.ask("qXfer:features:read:target.xml:0,ffb");
        assert!(described.contains("<target>"), "{described}");
        let state = bench.bytes("g");
        let state = bench.get(&state);
        let [pc, stack] = ["pc", platform.stack()].map(|it| state[it].known().unwrap());
        let (_, entry) = elf::load(platform, &program.bytes).unwrap();
        bench.file = pc - (entry as u64 & !(platform.step as u64 - 1));
        bench.window = (stack - 4 * WINDOW as u64) & !15;
        bench.random.fill(&mut bench.memory);
        let (window, random) = (bench.window, hex::encode(&bench.memory));
        let written = bench.ask(&format!("M{window:x},{WINDOW:x}:{random}"));
        assert_eq!(written, "OK");
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

    /// The registers and flags in a packet.
    fn get(&self, state: &[u8]) -> Registers {
        let get = |(name, at, size, low, bits): &Place| {
            let number = self.platform.number(&state[*at..at + size]) >> low;
            (*name, Term::number(number as i64, *bits))
        };
        self.places.iter().map(get).collect()
    }

    fn set(&self, state: &mut [u8], registers: &Registers) {
        for (name, at, size, low, bits) in &self.places {
            let place = &mut state[*at..at + size];
            let others = self.platform.number(place) & !(u64::MAX >> (64 - bits) << low);
            let number = others | registers[name].known().unwrap() << low;
            let number = Term::number(number as i64, 8 * *size as u32);
            place.copy_from_slice(&self.platform.bytes_of(&number));
        }
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
        let words = instruction.text.split([' ', ',', '#']);
        for number in words.filter_map(|it| number(it).ok()) {
            let number = number as u64;
            pool.extend([number, number.wrapping_neg(), number & 0xffff_ffff]);
        }
        *random.choice(&pool).unwrap()
    }

    /// Compares one instruction in one state; false if the state does not suit it. With `reach` all
    /// registers lead to the window.
    fn suits(&mut self, instruction: &Instruction, reach: bool) -> bool {
        let (platform, at) = (self.platform, self.file as i64 + instruction.at);
        let mut registers = Registers::new();
        for (name, .., bits) in self.places.clone() {
            let value = match name {
                "pc" => at,
                _ if bits == 1 => self.random.i64(..),
                _ => self.draw(instruction, reach) as i64,
            };
            registers.insert(name, Term::number(value, bits));
        }
        let mut state = self.bytes("g");
        self.set(&mut state, &registers);
        let window = format!("m{:x},{WINDOW:x}", self.window);
        self.memory = self.bytes(&window);
        let mut machine = Machine {
            platform,
            instruction,
            registers,
            file: Term::number(self.file as i64, platform.bits()),
            memory: self,
        };
        let next = match machine.run() {
            Ok(Flow::Branch(condition, to)) if condition.known() == Some(1) => to,
            Ok(_) => Term::number(at + instruction.length, platform.bits()),
            Err(_) => return false,
        };
        if next.known().unwrap() as i64 % platform.step != 0 {
            // It would leave Thumb, which is against the contract.
            return false;
        }
        let mut registers = machine.registers;
        registers.insert("pc", next);

        assert_eq!(self.ask(&format!("G{}", hex::encode(state))), "OK");
        let stopped = self.ask("s");
        let (name, text) = (platform.name, &instruction.text);
        let what = format!("{name}: {:#x} {text}", instruction.at);
        let is_trap = stopped.starts_with("T05") || stopped == "S05";
        assert!(is_trap, "{what}: {stopped}");
        let after = self.bytes("g");
        for (name, value) in self.get(&after) {
            // A flag may be left open.
            if registers[name].known().is_some() || value.bits > 1 {
                assert_eq!(value, registers[name], "{what}: {name}");
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
    programs.push(Program::read(NATIVE_ARCH, built("release/pause")).unwrap());
    for program in &programs {
        let mut instructions = program.prove().unwrap().instructions;
        // System calls are the kernel's.
        let calls = [
            "syscall",
            "int 0x80",
            "svc #0",
            "svc 0",
            "sc",
            "ecall",
            "syscall 0",
        ];
        instructions.retain(|_, it| !calls.contains(&&*it.text));
        let mut bench = Bench::new(program, directory.path());
        for instruction in instructions.values() {
            // In half of the states all registers lead to the window.
            let draws = (1..100 * ROUNDS).filter(|draw| bench.suits(instruction, draw % 2 == 0));
            let rounds = draws.take(ROUNDS).count();
            let (name, text) = (program.name(), &instruction.text);
            assert_eq!(rounds, ROUNDS, "{name}: too few states suit {text}");
        }
        let count = instructions.len();
        println!("{count} instructions, each from {ROUNDS} states");
    }
}
