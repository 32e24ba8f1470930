//! Each instruction that pause has means what its emulator makes of it (qemu-user, of which one is
//! for each processor): from random states, all registers, flags and memory are compared, by way of
//! the debugger's protocol that it speaks ("GDB Remote Serial Protocol", in GDB's manual).

use anyhow::Context;
use proof::{
    Program,
    isa::{Flow, Instruction, Machine, Memory},
    platform::Platform,
    term::Term,
};
use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    iter::zip,
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

/// Where the protocol has a register or a flag: the bytes, and its lowest bit there.
type Place = (Range<usize>, u32);

/// A program in its emulator, which waits before the first instruction: where it lies, and where the
/// window is.
struct Bench<'a> {
    program: &'a Program,
    platform: &'static Platform,
    child: Child,
    stream: BufReader<UnixStream>,
    places: Vec<Place>,
    pc: Place,
    base: u64,
    window: Range<u64>,
    random: fastrand::Rng,
}

impl Drop for Bench<'_> {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// Memory of known bytes: the file and the window.
struct Trial {
    bytes: BTreeMap<u64, Term>,
    platform: &'static Platform,
}

impl Memory for Trial {
    fn load(&mut self, address: &Term, bytes: u32) -> anyhow::Result<Term> {
        let address = address.known().unwrap();
        let found = (0..bytes.into()).map(|at| self.bytes.get(&address.wrapping_add(at)).cloned());
        let found: Vec<Term> = found.collect::<Option<_>>().context("outside")?;
        Ok(self.platform.join(found))
    }

    fn store(&mut self, address: &Term, value: &Term) -> anyhow::Result<()> {
        let address = address.known().unwrap();
        for (at, byte) in (0..).zip(self.platform.split(value)) {
            let place = self.bytes.get_mut(&address.wrapping_add(at));
            *place.context("outside")? = byte;
        }
        Ok(())
    }

    fn any(&mut self, bits: u32) -> Term {
        Term::symbol("any", bits)
    }
}

impl<'a> Bench<'a> {
    fn new(program: &'a Program, folder: &Path) -> Self {
        let platform = program.platform;
        let (name, first, pc, flags) = layout(platform);
        let socket = folder.join(platform.name);
        let mut command = Command::new(format!("qemu-{name}-static"));
        command.arg("-g").arg(&socket);
        command.arg(tests::built(&format!("{}/pause", program.name())));
        command.stdin(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn();
        let child = child.unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let mut stream = None;
        tests::wait_until("a socket", || {
            stream = UnixStream::connect(&socket).ok();
            stream.is_some()
        });
        let word = platform.bytes() as usize;
        let register = |at| (at..at + word, 0);
        let registers = platform.registers.split(' ').enumerate();
        let registers = registers.map(|(index, _)| register(first + index * word));
        let flags = flags.into_iter().map(|(at, low)| (at..at + 4, low));
        let mut bench = Self {
            program,
            platform,
            child,
            stream: BufReader::new(stream.unwrap()),
            places: registers.chain(flags).collect(),
            pc: register(pc),
            base: 0,
            window: 0..0,
            random: fastrand::Rng::with_seed(0),
        };
        // Who does not ask for this is given other registers.
        let described = bench.ask("qXfer:features:read:target.xml:0,ffb");
        assert!(described.contains("<target>"), "{described}");
        let state = bench.bytes("g");
        let entry = proof::elf::entry(platform, &program.bytes).unwrap() as u64;
        bench.base = bench.get(&state, &bench.pc) - (entry & !(platform.step as u64 - 1));
        let mut places = zip(platform.state(), &bench.places);
        let (_, stack) = places.find(|it| it.0.0 == platform.stack()).unwrap();
        let stack = bench.get(&state, stack);
        bench.window.start = (stack - 4 * WINDOW) & !15;
        bench.window.end = bench.window.start + WINDOW;
        bench
    }

    fn ask(&mut self, packet: &str) -> String {
        let sum = packet.bytes().fold(0, u8::wrapping_add);
        write!(self.stream.get_mut(), "+${packet}#{sum:02x}").unwrap();
        let mut answer = Vec::new();
        self.stream.read_until(b'#', &mut answer).unwrap();
        self.stream.read_exact(&mut [0; 2]).unwrap();
        let answer = String::from_utf8(answer).unwrap();
        let answer = answer.trim_start_matches(['+', '$']);
        answer.trim_end_matches('#').to_owned()
    }

    fn bytes(&mut self, packet: &str) -> Vec<u8> {
        let answer = self.ask(packet);
        hex::decode(&answer).unwrap_or_else(|_| panic!("{packet}: {answer}"))
    }

    fn put(&mut self, packet: &str, bytes: &[u8]) {
        let packet = format!("{packet}{}", hex::encode(bytes));
        assert_eq!(self.ask(&packet), "OK");
    }

    /// What is there, and above.
    fn get(&self, state: &[u8], (place, low): &Place) -> u64 {
        self.platform.number(&state[place.clone()]) >> low
    }

    fn set(&self, state: &mut [u8], place: &Place, value: &Term) {
        let (bytes, low) = (&mut state[place.0.clone()], place.1);
        let mask = u64::MAX >> (64 - value.bits) << low;
        let number = self.platform.number(bytes) & !mask | value.known().unwrap() << low;
        let number = Term::number(number as i64, 8 * bytes.len() as u32);
        for (byte, value) in bytes.iter_mut().zip(self.platform.split(&number)) {
            *byte = value.known().unwrap() as u8;
        }
    }

    /// What a register may be, around the numbers of the instruction, or leading to memory.
    fn pool(&mut self, instruction: &Instruction, reach: bool) -> Vec<u64> {
        let random = &mut self.random;
        if reach {
            let middle = self.window.start + WINDOW / 2;
            return (0..4).map(|_| middle + 16 * random.u64(..16)).collect();
        }
        let bits = self.platform.bits;
        let mut pool = vec![0, 1, u64::MAX >> (64 - bits), 1 << (bits - 1)];
        pool.extend([0x7fff_ffff, 0x8000_0000]);
        pool.extend([random.u64(..), random.u64(..), random.u64(..)]);
        let numbers = instruction.text.split([' ', ',', '#']);
        for number in numbers.filter_map(|it| proof::isa::number(it).ok()) {
            let number = number as u64;
            pool.extend([number, number.wrapping_neg(), number & 0xffff_ffff]);
        }
        pool
    }

    /// Compares one instruction in one state; false where the state does not suit it. With `reach`
    /// all registers lead to memory.
    fn suits(&mut self, instruction: &Instruction, reach: bool) -> bool {
        let (program, platform) = (self.program, self.platform);
        let pool = self.pool(instruction, reach);
        let mut state = self.bytes("g");
        let mut registers = BTreeMap::new();
        for ((name, bits), place) in zip(platform.state(), &self.places) {
            let value = match bits {
                0..8 => self.random.u64(..),
                _ => *self.random.choice(&pool).unwrap(),
            };
            let value = Term::number(value as i64, bits);
            self.set(&mut state, place, &value);
            registers.insert(name, value);
        }
        let at = self.base + instruction.at as u64;
        self.set(
            &mut state,
            &self.pc,
            &Term::number(at as i64, platform.bits),
        );
        let byte = |it: &u8| Term::number((*it).into(), 8);
        let mut trial = Trial {
            bytes: (self.base..).zip(program.bytes.iter().map(byte)).collect(),
            platform,
        };
        let window = self.window.clone();
        if reach {
            let bytes: Vec<u8> = window.clone().map(|_| self.random.u8(..)).collect();
            self.put(&format!("M{:x},{WINDOW:x}:", window.start), &bytes);
            trial
                .bytes
                .extend(window.clone().zip(bytes.iter().map(byte)));
        }

        let mut machine = Machine {
            platform,
            instruction,
            registers,
            memory: &mut trial,
            file: Term::number(self.base as i64, platform.bits),
        };
        let Ok(flow) = machine.run() else {
            return false;
        };
        let next = match flow {
            Flow::Jump(to) => to.known().unwrap(),
            Flow::Branch(condition, to) if condition.known() == Some(1) => to.known().unwrap(),
            Flow::Branch(..) | Flow::Next => at + instruction.length as u64,
            Flow::Kernel => unreachable!("a system call is the kernel's"),
        };
        if next as i64 % platform.step != 0 {
            // It would leave Thumb, which is against the contract.
            return false;
        }

        self.put("G", &state);
        let stopped = self.ask("s");
        let what = format!(
            "{}: {:#x} {}",
            program.name(),
            instruction.at,
            instruction.text
        );
        let is_trap = stopped.starts_with("T05") || stopped == "S05";
        assert!(is_trap, "{what}: {stopped}");
        let after = self.bytes("g");
        assert_eq!(self.get(&after, &self.pc), next, "{what}: where it goes on");
        for ((name, bits), place) in zip(platform.state(), &self.places) {
            let value = &machine.registers[name];
            // A flag may be left open.
            if value.known().is_some() || bits >= 8 {
                let is = Term::number(self.get(&after, place) as i64, bits);
                assert_eq!(is, *value, "{what}: {name}");
            }
        }
        if reach {
            let memory = self.bytes(&format!("m{:x},{WINDOW:x}", window.start));
            let expected = trial.bytes.range(window).map(|it| it.1.clone());
            assert!(expected.eq(memory.iter().map(byte)), "{what}: memory");
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
        let calls = ["syscall", "int 0x80", "svc #0", "svc 0", "sc", "ecall"];
        instructions.retain(|_, it| !calls.contains(&&*it.text));
        let mut bench = Bench::new(program, folder.path());
        for instruction in instructions.values() {
            // Half of the draws have all registers lead to memory.
            let draws = (1..100 * ROUNDS).filter(|draw| bench.suits(instruction, draw % 2 == 0));
            let rounds = draws.take(ROUNDS).count();
            let (name, text) = (program.name(), &instruction.text);
            assert_eq!(rounds, ROUNDS, "{name}: too few states suit {text}");
        }
        let (name, count) = (program.platform.name, instructions.len());
        println!("{name}: {count} instructions, each from {ROUNDS} states");
    }
}
