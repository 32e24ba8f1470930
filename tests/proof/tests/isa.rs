//! Each instruction that pause has means what its emulator makes of it (qemu-user, of which one is
//! for each processor): from random states, all registers, flags and memory are compared, by way of
//! the debugger's protocol that it speaks ("GDB Remote Serial Protocol", in GDB's manual).

use proof::{
    Program,
    isa::{Flow, Instruction, Machine, Memory},
    kernel::Platform,
    term::Term,
};
use std::{
    collections::BTreeMap,
    io::{BufReader, Read, Write},
    os::unix::net::UnixStream,
    path::Path,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::Duration,
};

/// States for each instruction.
const ROUNDS: usize = 24;
/// Memory that instructions may reach, in bytes, around where registers lead.
const WINDOW: u64 = 1024;

/// A flag: its register's place in bytes, and its place in that, in bits.
type Flag = (&'static str, usize, usize, u32, u32);

/// Where the protocol has what, in bytes: the first register, the rest of which follow in the order
/// of the platform's table; the address of the instruction; flags (`gdbstub.c` of each processor in
/// QEMU).
fn layout(platform: &Platform) -> (&'static str, usize, usize, &'static [Flag]) {
    match platform.name {
        "386" => (
            "i386",
            0,
            32,
            &[
                ("cf", 36, 4, 0, 1),
                ("zf", 36, 4, 6, 1),
                ("sf", 36, 4, 7, 1),
                ("of", 36, 4, 11, 1),
            ],
        ),
        "amd64" => (
            "x86_64",
            0,
            128,
            &[
                ("cf", 136, 4, 0, 1),
                ("zf", 136, 4, 6, 1),
                ("sf", 136, 4, 7, 1),
                ("of", 136, 4, 11, 1),
            ],
        ),
        "arm" => (
            "arm",
            0,
            60,
            &[
                ("n", 64, 4, 31, 1),
                ("z", 64, 4, 30, 1),
                ("c", 64, 4, 29, 1),
                ("v", 64, 4, 28, 1),
            ],
        ),
        "arm64" => (
            "aarch64",
            0,
            256,
            &[
                ("n", 264, 4, 31, 1),
                ("z", 264, 4, 30, 1),
                ("c", 264, 4, 29, 1),
                ("v", 264, 4, 28, 1),
            ],
        ),
        "ppc64le" => (
            "ppc64le",
            0,
            256,
            &[
                ("lt", 272, 4, 31, 1),
                ("gt", 272, 4, 30, 1),
                ("eq", 272, 4, 29, 1),
                ("so", 272, 4, 28, 1),
                ("xer.so", 292, 4, 31, 1),
            ],
        ),
        "riscv64" => ("riscv64", 8, 256, &[]),
        "s390x" => ("s390x", 16, 8, &[("cc", 0, 8, 44, 2)]),
        other => panic!("{other}: which emulator?"),
    }
}

/// An emulator that waits before the first instruction.
struct Emulator {
    child: Child,
    stream: BufReader<UnixStream>,
    is_big_endian: bool,
    bits: u32,
    first: usize,
    pc: usize,
    flags: &'static [Flag],
}

impl Emulator {
    fn start(platform: &'static Platform, program: &Path, folder: &Path) -> Self {
        let (name, first, pc, flags) = layout(platform);
        let socket = folder.join(platform.name);
        let emulator = format!("qemu-{name}-static");
        let mut command = Command::new(&emulator);
        let command = command
            .arg("-g")
            .arg(&socket)
            .arg(program)
            .stdin(Stdio::null())
            .stderr(Stdio::null());
        let child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{emulator}: {error}"));
        let mut stream = UnixStream::connect(&socket);
        for _ in 0..500 {
            if stream.is_ok() {
                break;
            }
            sleep(Duration::from_millis(20));
            stream = UnixStream::connect(&socket);
        }
        let stream = BufReader::new(stream.unwrap());
        let isa = platform.isa;
        let mut emulator = Self {
            child,
            stream,
            is_big_endian: isa.is_big_endian,
            bits: isa.bits,
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
        (0..answer.len())
            .step_by(2)
            .map(|at| digits(at).unwrap_or_else(|_| panic!("{packet}: {answer}")))
            .collect()
    }

    fn number(&self, state: &[u8], at: usize, size: usize) -> u64 {
        let mut bytes = state[at..at + size].to_vec();
        if self.is_big_endian {
            bytes.reverse();
        }
        bytes
            .iter()
            .rev()
            .fold(0, |number, byte| number << 8 | u64::from(*byte))
    }

    fn put(&self, state: &mut [u8], at: usize, size: usize, number: u64) {
        let place = &mut state[at..at + size];
        place.copy_from_slice(&number.to_le_bytes()[..size]);
        if self.is_big_endian {
            place.reverse();
        }
    }

    /// Where a register is: its place, its size, its lowest bit and its bits.
    fn place(&self, index: usize, name: &str) -> (usize, usize, u32, u32) {
        let flag = self.flags.iter().find(|it| it.0 == name);
        let word = self.bits as usize / 8;
        flag.map_or((self.first + index * word, word, 0, self.bits), |it| {
            (it.1, it.2, it.3, it.4)
        })
    }

    fn get(&self, state: &[u8], index: usize, name: &str) -> u64 {
        let (at, size, low, bits) = self.place(index, name);
        self.number(state, at, size) >> low & u64::MAX >> (64 - bits)
    }

    fn set(&self, state: &mut [u8], index: usize, name: &str, value: u64) {
        let (at, size, low, bits) = self.place(index, name);
        let mask = u64::MAX >> (64 - bits) << low;
        let number = self.number(state, at, size) & !mask | value << low & mask;
        self.put(state, at, size, number);
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// Memory of known bytes: the file and the window.
struct Trial<'a> {
    bytes: BTreeMap<u64, u8>,
    base: u64,
    platform: &'a Platform,
    /// What it reached.
    used: bool,
    anys: usize,
}

impl Memory for Trial<'_> {
    fn load(&mut self, address: &Term, bytes: u32) -> anyhow::Result<Term> {
        self.used = true;
        let address = address.known().unwrap();
        let mut number = 0;
        for index in 0..u64::from(bytes) {
            let at = if self.platform.isa.is_big_endian {
                index
            } else {
                u64::from(bytes) - 1 - index
            };
            let byte = self.bytes.get(&address.wrapping_add(at));
            number = number << 8 | u64::from(*byte.ok_or_else(|| anyhow::anyhow!("outside"))?);
        }
        Ok(Term::number(number as i64, 8 * bytes))
    }

    fn store(&mut self, address: &Term, value: &Term) -> anyhow::Result<()> {
        self.used = true;
        let (address, number) = (address.known().unwrap(), value.known().unwrap());
        let count = u64::from(value.bits / 8);
        for index in 0..count {
            let at = if self.platform.isa.is_big_endian {
                count - 1 - index
            } else {
                index
            };
            let byte = self.bytes.get_mut(&address.wrapping_add(at));
            *byte.ok_or_else(|| anyhow::anyhow!("outside"))? = (number >> (8 * index)) as u8;
        }
        Ok(())
    }

    fn address(&self, offset: u64) -> Term {
        Term::number(
            self.base.wrapping_add(offset) as i64,
            self.platform.isa.bits,
        )
    }

    fn any(&mut self, bits: u32) -> Term {
        self.anys += 1;
        Term::symbol(format!("any{}", self.anys), bits)
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

/// Compares one instruction in one state; false where the state does not suit it.
fn try_one(
    emulator: &mut Emulator,
    program: &Program,
    instruction: &Instruction,
    base: u64,
    window: u64,
    reach: bool,
    random: &mut Random,
) -> bool {
    let platform = program.platform;
    let mask = u64::MAX >> (64 - platform.isa.bits);
    let numbers = instruction
        .operands
        .iter()
        .filter_map(|it| proof::isa::number(it).ok());
    let mut pool = vec![
        0,
        1,
        mask,
        1 << (platform.isa.bits - 1),
        0x7fff_ffff,
        0x8000_0000,
        random.next(),
        random.next(),
        random.next(),
    ];
    pool.extend(
        numbers.flat_map(|it| [it as u64, it.wrapping_neg() as u64, it as u64 & 0xffff_ffff]),
    );
    if reach {
        pool = (0..4)
            .map(|_| window + WINDOW / 2 + 16 * (random.next() % 16))
            .collect();
    }
    let mut state = emulator.bytes("g");
    let mut registers = Vec::new();
    for (index, (name, bits)) in platform.isa.state().enumerate() {
        let value = if bits < 8 {
            random.next()
        } else {
            random.pick(&pool)
        } & u64::MAX >> (64 - bits);
        emulator.set(&mut state, index, name, value);
        registers.push(Term::number(value as i64, bits));
    }
    emulator.put(
        &mut state,
        emulator.pc,
        platform.bytes() as usize,
        base + instruction.at,
    );
    let mut trial = Trial {
        bytes: BTreeMap::new(),
        base,
        platform,
        used: false,
        anys: 0,
    };
    trial
        .bytes
        .extend((base..).zip(program.bytes.iter().copied()));
    if reach {
        trial
            .bytes
            .extend((window..window + WINDOW).map(|at| (at, random.next() as u8)));
        let hex: String = trial
            .bytes
            .range(window..window + WINDOW)
            .map(|(_, byte)| format!("{byte:02x}"))
            .collect();
        assert_eq!(emulator.ask(&format!("M{window:x},{WINDOW:x}:{hex}")), "OK");
    }

    let mut machine = Machine {
        isa: platform.isa,
        registers: &mut registers,
        memory: &mut trial,
    };
    let Ok(flow) = (platform.isa.meaning)(&mut machine, instruction) else {
        return false;
    };
    let next = base + instruction.at + instruction.length;
    let next = match flow {
        Flow::Next => next,
        Flow::Jump(to) => to.known().unwrap(),
        Flow::Branch(condition, to) => {
            if condition.known().unwrap() == 1 {
                base + to
            } else {
                next
            }
        }
        Flow::Kernel => unreachable!("a system call is the kernel's"),
    };
    if next % platform.isa.step != 0 {
        // It would leave Thumb, which is against the contract.
        return false;
    }

    let hex: String = state.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(emulator.ask(&format!("G{hex}")), "OK");
    let stopped = emulator.ask("s");
    let what = format!(
        "{}: {:#x} {}",
        program.name(),
        instruction.at,
        instruction.text()
    );
    assert!(
        stopped.starts_with("T05") || stopped == "S05",
        "{what}: {stopped}"
    );
    let after = emulator.bytes("g");
    assert_eq!(
        emulator.number(&after, emulator.pc, platform.bytes() as usize),
        next,
        "{what}: where it goes on"
    );
    for (index, (name, bits)) in platform.isa.state().enumerate() {
        // A flag may be left open.
        if let Some(value) = registers[index].known() {
            assert_eq!(emulator.get(&after, index, name), value, "{what}: {name}");
        } else {
            assert!(bits < 8, "{what}: {name} is not known");
        }
    }
    if reach {
        let memory = emulator.bytes(&format!("m{window:x},{WINDOW:x}"));
        assert!(
            trial
                .bytes
                .range(window..window + WINDOW)
                .map(|it| it.1)
                .eq(&memory),
            "{what}: memory"
        );
    }
    true
}

#[test]
fn each_instruction_means_what_the_processor_makes_of_it() {
    let folder = tempfile::tempdir().unwrap();
    for program in Program::all()
        .unwrap()
        .into_iter()
        .filter(|it| it.folder == "pause")
    {
        let platform = program.platform;
        let instructions = program.prove().unwrap().instructions;
        let path = tests::built(&format!("pause/{}/pause", platform.name));
        let mut emulator = Emulator::start(platform, &path, folder.path());
        let state = emulator.bytes("g");
        let entry = proof::elf::entry(platform, &program.bytes).unwrap() as u64;
        let base = emulator.number(&state, emulator.pc, platform.bytes() as usize)
            - (entry & !(platform.isa.step - 1));
        let stack = platform
            .isa
            .registers
            .iter()
            .position(|it| *it == platform.stack)
            .unwrap();
        let window = (emulator.get(&state, stack, platform.stack) - 4 * WINDOW) & !15;
        let (mut random, mut count) = (Random(0), 0);
        for instruction in instructions.values() {
            let is_call = ["syscall", "int", "svc", "sc", "ecall"].contains(&&*instruction.name);
            if is_call {
                continue;
            }
            count += 1;
            let (mut rounds, mut draws) = (0, 0);
            while rounds < ROUNDS {
                draws += 1;
                assert!(
                    draws < 100 * ROUNDS,
                    "{}: no state suits {}",
                    program.name(),
                    instruction.text()
                );
                // Half of the draws have all registers lead to memory.
                let suits = try_one(
                    &mut emulator,
                    &program,
                    instruction,
                    base,
                    window,
                    draws % 2 == 0,
                    &mut random,
                );
                rounds += usize::from(suits);
            }
        }
        println!(
            "{}: {count} instructions, each from {ROUNDS} states",
            platform.name
        );
    }
}
