//! A processor with pause in its memory, as Linux starts it, and the kernel's side of its system
//! calls: what each is to be and what it answers, a story tells step by step.

use crate::{
    Arch, Binary,
    elf::{self, Layout},
};
use anyhow::{Result, anyhow};
use linux_raw_sys::general as linux;
use std::{cell::RefCell, collections::BTreeMap, fmt, ops::Range, rc::Rc};
use unicorn_engine::{
    HookType, MemType, Mode, Prot, RegisterARM64, RegisterX86, Unicorn, X86Insn, uc_error,
};

/// Where the segment is loaded: a multiple of 64 KiB, as aarch64's file asks for.
const BASE: u64 = 0x5555_5555_0000;
/// The page that holds all of the file, as every kernel has one of this size.
const PAGE: u64 = 4096;
/// The stack, in bytes, and where it ends: anywhere, or so that a string begins at [`ROUND`].
const STACK: u64 = 64 << 10;
const STACK_END: u64 = 0x7ffd_1234_0000;
const ROUND_STACK_END: u64 = ROUND + PAGE;
/// An address in the stack that has few bits: as a number of 32, or of 8, it would be none.
const ROUND: u64 = 0x7ffc_0000_0000;
/// Instructions that lie between two system calls, at the most: many more than there are.
const RUNAWAY: usize = 5_000;
/// What lies where nothing may be expected: in registers at the start, and below the stack pointer.
const JUNK: u64 = 0xa5a5_a5a5_a5a5_a5a5;

/// A system call with all that goes into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    Getpid,
    Write { file: u32, text: String },
    Action { signal: u32, action: Action },
    Wait,
    Sleep,
    Exit(u32),
}

/// What rt_sigaction(2) is given, as far as the kernel looks at it: it has no use for the mask of a
/// signal that is ignored, nor for a restorer that nothing returns to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Ignore { flags: u64 },
    Handle { flags: u64, mask: u64 },
}

/// What comes of a system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It returns this.
    Returns(i64),
    /// It returns this, but a signal came meanwhile: its handler runs first, if it is not blocked.
    Interrupted(i64, u32),
    /// Nothing: the process is gone.
    Ends,
}

/// A call that is to be made next, and what comes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub call: Call,
    pub answer: Answer,
}

/// How it is started, and all that it does.
#[derive(Clone, Debug)]
pub struct Scenario {
    pub name: String,
    pub arguments: Vec<Vec<u8>>,
    pub environment: Vec<Vec<u8>>,
    pub start: Start,
    pub story: Vec<Step>,
}

/// What the program finds in registers and where in memory, which Linux leaves open or may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Junk is in the registers.
    Any,
    /// Zeros are in the registers, as Linux has it today.
    Zeros,
    /// As with `Any`, and the second argument, behind the name, is at an address with few bits.
    RoundArgument,
    /// As with `Any`, and 32 bytes below the stack's start is an address with few bits.
    RoundStack,
}

/// Why a run was not what the story tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Another call, or the same with something else.
    Other {
        expected: Option<Call>,
        made: String,
    },
    /// Memory that is not there, or not for that; an instruction that is none.
    Fault(String),
    /// No system call any more.
    Runaway,
    /// Arguments, environment or the kernel's words behind them were written to.
    Touched(u64),
    /// The stack pointer, which the processor or the ABI want aligned.
    Misaligned(u64),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Other { expected, made } => write!(f, "{made}, not {expected:?}"),
            Self::Fault(what) => write!(f, "fault: {what}"),
            Self::Runaway => write!(f, "runs away"),
            Self::Touched(at) => write!(f, "touched {at:#x}"),
            Self::Misaligned(sp) => write!(f, "stack at {sp:#x}"),
        }
    }
}

/// What a run used of the segment, by offset in the file.
#[derive(Clone, Default)]
pub struct Coverage {
    /// Where an instruction began, and which came next, which may be none.
    pub executed: BTreeMap<u64, Vec<u64>>,
    /// What was read as data, by the program or by the kernel for it.
    pub read: Vec<Range<u64>>,
    /// The system calls, by their numbers.
    pub calls: Vec<u64>,
}

#[derive(Default)]
struct Events {
    /// Where the system call that was just made returns to.
    call: Option<u64>,
    /// The interrupt or exception that is none.
    exception: Option<u32>,
    /// The instruction before, while coverage is taken.
    last: Option<u64>,
    coverage: Coverage,
    /// How many more instructions to run before a signal comes, and which that is.
    signal_after: Option<usize>,
    stopped_for_signal: bool,
}

/// The processor.
pub struct Machine {
    cpu: Unicorn<'static, ()>,
    arch: Arch,
    layout: Layout,
    events: Rc<RefCell<Events>>,
    /// The actions taken for signals, and where their handlers are.
    actions: BTreeMap<u32, (Action, u64)>,
    blocked: u64,
    initial_stack: Vec<u8>,
    stack_end: u64,
    argc_end: u64,
}

impl Machine {
    /// Loads the file. With `watch`, each instruction is looked at: coverage, and the stack pointer
    /// after each; without it, runs are several times as fast.
    pub fn new(file: &[u8], arch: Arch, watch: bool) -> Result<Self, Trouble> {
        let layout = elf::load(file, arch, PAGE).map_err(|why| Trouble::Fault(why.to_owned()))?;
        let (kind, mode) = match arch {
            Arch::Amd64 => (unicorn_engine::Arch::X86, Mode::MODE_64),
            Arch::Arm64 => (unicorn_engine::Arch::ARM64, Mode::LITTLE_ENDIAN),
        };
        let mut cpu = Unicorn::new(kind, mode).expect("unicorn has both architectures");
        for segment in &layout.segments {
            let mut protection = Prot::NONE;
            for (flag, allowed) in [(4, Prot::READ), (2, Prot::WRITE), (1, Prot::EXEC)] {
                if segment.flags & flag != 0 {
                    protection |= allowed;
                }
            }
            let address = BASE + segment.address;
            cpu.mem_map(address, segment.length, protection).unwrap();
            // The page of the last bytes is zeros behind them.
            let bytes = file.iter().skip(segment.offset as usize);
            let bytes: Vec<u8> = bytes.take(segment.length as usize).copied().collect();
            cpu.mem_write(address, &bytes).unwrap();
        }
        let stack = Prot::READ | Prot::WRITE;
        for end in [STACK_END, ROUND_STACK_END] {
            cpu.mem_map(end - STACK, STACK, stack).unwrap();
        }

        let events = Rc::new(RefCell::new(Events::default()));
        let seen = Rc::clone(&events);
        match arch {
            Arch::Amd64 => {
                cpu.add_insn_sys_hook(X86Insn::SYSCALL, 1, 0, move |cpu| {
                    // It tells of the instruction, which has two bytes.
                    seen.borrow_mut().call = Some(cpu.pc_read().unwrap() + 2);
                    cpu.emu_stop().unwrap();
                })
                .unwrap();
                let seen = Rc::clone(&events);
                cpu.add_intr_hook(move |cpu, number| {
                    seen.borrow_mut().exception = Some(number);
                    cpu.emu_stop().unwrap();
                })
                .unwrap();
            }
            Arch::Arm64 => {
                cpu.add_intr_hook(move |cpu, number| {
                    let mut seen = seen.borrow_mut();
                    // QEMU's EXCP_SWI, which tells of the instruction behind it. After any other
                    // the kernel ends the process.
                    match number {
                        2 => seen.call = Some(cpu.pc_read().unwrap()),
                        _ => seen.exception = Some(number),
                    }
                    cpu.emu_stop().unwrap();
                })
                .unwrap();
            }
        }
        let mut machine = Self {
            cpu,
            arch,
            layout,
            events,
            actions: BTreeMap::new(),
            blocked: 0,
            initial_stack: vec![],
            stack_end: STACK_END,
            argc_end: 0,
        };
        if watch {
            machine.watch();
        }
        Ok(machine)
    }

    fn watch(&mut self) {
        let seen = Rc::clone(&self.events);
        let in_file = |address: u64| (BASE..BASE + PAGE).contains(&address);
        self.cpu
            .add_code_hook(1, 0, move |cpu, address, _| {
                let mut seen = seen.borrow_mut();
                match &mut seen.signal_after {
                    Some(0) => {
                        seen.signal_after = None;
                        seen.stopped_for_signal = true;
                        cpu.emu_stop().unwrap();
                        return;
                    }
                    Some(more) => *more -= 1,
                    None => {}
                }
                let here = address.wrapping_sub(BASE);
                if let Some(last) = seen.last.replace(here) {
                    let next = seen.coverage.executed.get_mut(&last).unwrap();
                    if !next.contains(&here) {
                        next.push(here);
                    }
                }
                seen.coverage.executed.entry(here).or_default();
            })
            .unwrap();
        let seen = Rc::clone(&self.events);
        self.cpu
            .add_mem_hook(
                HookType::MEM_READ,
                1,
                0,
                move |_, _: MemType, address, size, _| {
                    if in_file(address) {
                        let start = address - BASE;
                        let read = start..start + size as u64;
                        seen.borrow_mut().coverage.read.push(read);
                    }
                    true
                },
            )
            .unwrap();
    }

    /// What all runs so far have used.
    pub fn coverage(&self) -> Coverage {
        self.events.borrow().coverage.clone()
    }

    /// Changes a byte of the file where it is in memory, its offset being within the first segment.
    pub fn patch(&mut self, offset: usize, byte: u8) {
        let address = BASE + offset as u64;
        self.cpu.mem_write(address, &[byte]).unwrap();
        self.cpu
            .ctl_remove_cache(address & !63, (address & !63) + 128)
            .ok();
    }

    /// Runs it to its end. All of the story has to happen, and nothing else.
    pub fn run(&mut self, scenario: &Scenario) -> Result<(), Trouble> {
        self.run_with_signal(scenario, None).map(|_| ())
    }

    /// The same, with a signal that comes after so many instructions, counted from the first time
    /// that its handler is there. Whether it came: a run may be shorter. From then on, `end` is the
    /// story.
    pub fn run_with_signal(
        &mut self,
        scenario: &Scenario,
        signal: Option<(usize, u32, &[Step])>,
    ) -> Result<bool, Trouble> {
        self.start(scenario);
        let mut story = scenario.story.iter();
        let mut armed = false;
        let mut came = false;
        loop {
            if let Some((after, number, _)) = signal
                && !armed
                && matches!(self.actions.get(&number), Some((Action::Handle { .. }, _)))
            {
                armed = true;
                self.events.borrow_mut().signal_after = Some(after);
            }
            let pc = self.pc();
            let result = self.cpu.emu_start(pc, 0, 0, RUNAWAY);
            let (call, exception, stopped) = {
                let mut events = self.events.borrow_mut();
                let stopped = std::mem::take(&mut events.stopped_for_signal);
                (events.call.take(), events.exception.take(), stopped)
            };
            if let Err(error) = result {
                return Err(Trouble::Fault(format!(
                    "{error:?} at {:#x}",
                    self.pc().wrapping_sub(BASE)
                )));
            }
            if let Some(number) = exception {
                return Err(Trouble::Fault(format!("exception {number}")));
            }
            self.see_stack_aligned()?;
            if stopped {
                let (_, number, end) = signal.expect("one was asked for");
                came = true;
                self.deliver(number)?;
                story = end.iter();
                continue;
            }
            let Some(next) = call else {
                return Err(Trouble::Runaway);
            };
            let made = self.call();
            let step = story.next();
            match step {
                Some(step) if made.as_ref() == Ok(&step.call) => {
                    if self.answer(next, step)? {
                        break;
                    }
                }
                _ => {
                    let expected = step.map(|step| step.call.clone());
                    let made = format!("{made:?}");
                    return Err(Trouble::Other { expected, made });
                }
            }
        }
        if let Some(step) = story.next() {
            let expected = Some(step.call.clone());
            let made = "the end".to_owned();
            return Err(Trouble::Other { expected, made });
        }
        self.see_caller_untouched()?;
        Ok(came)
    }

    /// Makes stack and registers what execve(2) makes them (`create_elf_tables()`), but for those
    /// that the ABI says nothing of: junk lies there.
    fn start(&mut self, scenario: &Scenario) {
        let mut strings = Vec::new();
        let mut place = |bytes: &[u8]| {
            let at = strings.len() as u64;
            strings.extend_from_slice(bytes);
            strings.push(0);
            at
        };
        let arguments: Vec<u64> = scenario.arguments.iter().map(|it| place(it)).collect();
        let environment: Vec<u64> = scenario.environment.iter().map(|it| place(it)).collect();
        place(b"/pause");
        strings.extend_from_slice(&[0; 8]);
        let (stack_end, strings_at) = match scenario.start {
            Start::RoundArgument => (ROUND_STACK_END, ROUND - arguments[1]),
            Start::RoundStack => (ROUND_STACK_END, ROUND_STACK_END - strings.len() as u64),
            Start::Any | Start::Zeros => (STACK_END, STACK_END - strings.len() as u64),
        };

        let mut words = vec![arguments.len() as u64];
        for pointers in [&arguments, &environment] {
            words.extend(pointers.iter().map(|offset| strings_at + offset));
            words.push(0);
        }
        // AT_PAGESZ and AT_NULL.
        words.extend([6, PAGE, 0, 0]);
        // Below the strings, the kernel leaves some space.
        let sp = match scenario.start {
            Start::RoundStack => ROUND + 32,
            _ => (strings_at - 64 - 8 * words.len() as u64) & !15,
        };
        let mut stack = JUNK.to_le_bytes().repeat(STACK as usize / 8);
        let mut put = |at: u64, bytes: &[u8]| {
            let start = (at - (stack_end - STACK)) as usize;
            stack[start..start + bytes.len()].copy_from_slice(bytes);
        };
        for (place, word) in words.iter().enumerate() {
            put(sp + 8 * place as u64, &word.to_le_bytes());
        }
        put(strings_at, &strings);
        self.cpu.mem_write(stack_end - STACK, &stack).unwrap();
        self.initial_stack = stack;
        self.stack_end = stack_end;
        self.argc_end = sp + 8;

        let any = match scenario.start {
            Start::Zeros => 0,
            _ => JUNK,
        };
        match self.arch {
            Arch::Amd64 => {
                for register in X86_REGISTERS {
                    self.cpu.reg_write(register, any).unwrap();
                }
                self.cpu.reg_write(RegisterX86::RFLAGS, 0x202).unwrap();
            }
            Arch::Arm64 => {
                for register in arm64_registers() {
                    self.cpu.reg_write(register, any).unwrap();
                }
                self.cpu.reg_write(RegisterARM64::NZCV, 0).unwrap();
            }
        }
        self.set_sp(sp);
        self.set_pc(BASE.wrapping_add(self.layout.entry));
        self.actions.clear();
        self.blocked = 0;
        let mut events = self.events.borrow_mut();
        let coverage = std::mem::take(&mut events.coverage);
        *events = Events {
            coverage,
            ..Events::default()
        };
    }

    /// The call that the registers ask for, or what they ask for instead.
    fn call(&mut self) -> Result<Call, String> {
        let (number, arguments) = match self.arch {
            Arch::Amd64 => {
                use RegisterX86::*;
                let read = |register| self.cpu.reg_read(register).unwrap();
                (read(RAX), [RDI, RSI, RDX, R10, R8].map(read))
            }
            Arch::Arm64 => {
                use RegisterARM64::*;
                let read = |register| self.cpu.reg_read(register).unwrap();
                (read(X8), [X0, X1, X2, X3, X4].map(read))
            }
        };
        self.events.borrow_mut().coverage.calls.push(number);
        let numbers = numbers(self.arch);
        let [a, b, c, d, _] = arguments;
        // An int or an unsigned int is the lower half of its register (the kernel's SYSCALL_DEFINE).
        let int = |register: u64| register as u32;
        let what = || format!("call {number}({a:#x}, {b:#x}, {c:#x}, {d:#x})");
        // x86_64 takes the number from the lower half, aarch64 from that too (w8).
        let call = match int(number) as u64 {
            it if it == numbers.getpid => Some(Call::Getpid),
            it if it == numbers.write && c <= PAGE => {
                let mut text = vec![0; c as usize];
                match self.cpu.mem_read(b, &mut text) {
                    Ok(()) => {
                        if let Some(start) = b.checked_sub(BASE) {
                            let mut events = self.events.borrow_mut();
                            events.coverage.read.push(start..start + c);
                        }
                        let text = String::from_utf8_lossy(&text).into_owned();
                        Some(Call::Write { file: int(a), text })
                    }
                    Err(_) => None,
                }
            }
            it if it == numbers.rt_sigaction && c == 0 && d == 8 => {
                let mut words = [0; 32];
                match self.cpu.mem_read(b, &mut words) {
                    Ok(()) => {
                        let word = |index: usize| {
                            u64::from_le_bytes(words[8 * index..8 * index + 8].try_into().unwrap())
                        };
                        let [handler, flags, _restorer, mask] = [0, 1, 2, 3].map(word);
                        let signal = int(a);
                        let action = match handler {
                            1 => Some(Action::Ignore { flags }),
                            it if (BASE..BASE + PAGE).contains(&it) => {
                                Some(Action::Handle { flags, mask })
                            }
                            _ => None,
                        };
                        action.map(|action| {
                            self.actions.insert(signal, (action, handler));
                            Call::Action { signal, action }
                        })
                    }
                    Err(_) => None,
                }
            }
            it if it == numbers.wait4 => {
                (int(a) == u32::MAX && b == 0 && int(c) == 1 && d == 0).then_some(Call::Wait)
            }
            it if Some(it) == numbers.pause => Some(Call::Sleep),
            it if Some(it) == numbers.ppoll => {
                (a == 0 && int(b) == 0 && c == 0 && d == 0).then_some(Call::Sleep)
            }
            it if it == numbers.exit_group => Some(Call::Exit(int(a))),
            _ => None,
        };
        call.ok_or_else(what)
    }

    /// Does what the kernel does at the end of a call. Whether the process has ended.
    fn answer(&mut self, next: u64, step: &Step) -> Result<bool, Trouble> {
        let (value, signal) = match step.answer {
            Answer::Returns(value) => (value, None),
            Answer::Interrupted(value, signal) => (value, Some(signal)),
            Answer::Ends => return Ok(true),
        };
        if let Call::Action { signal, .. } = step.call
            && value != 0
        {
            self.actions.remove(&signal);
        }
        match self.arch {
            Arch::Amd64 => {
                // The instruction itself puts these two there (Intel's manual, SYSCALL).
                let flags = self.cpu.reg_read(RegisterX86::RFLAGS).unwrap();
                self.cpu.reg_write(RegisterX86::RCX, next).unwrap();
                self.cpu.reg_write(RegisterX86::R11, flags).unwrap();
                self.cpu.reg_write(RegisterX86::RAX, value as u64).unwrap();
            }
            Arch::Arm64 => {
                self.cpu.reg_write(RegisterARM64::X0, value as u64).unwrap();
            }
        }
        self.set_pc(next);
        self.spoil_below_stack();
        if let Some(signal) = signal {
            self.deliver(signal)?;
        }
        Ok(false)
    }

    /// Nothing below the stack pointer lasts over a call: a signal's frame may have been there. On
    /// x86_64, the red zone does (System V ABI).
    fn spoil_below_stack(&mut self) {
        let sp = self.sp();
        let end = match self.arch {
            Arch::Amd64 => sp.wrapping_sub(128),
            Arch::Arm64 => sp,
        };
        let junk = JUNK.to_le_bytes().repeat(64);
        // Where the stack pointer is elsewhere, the next use of it will tell.
        self.cpu.mem_write(end.wrapping_sub(512), &junk).ok();
    }

    /// Delivers a signal: runs its handler on a frame below the stack pointer, or keeps it pending
    /// where it is blocked (`setup_rt_frame()`).
    fn deliver(&mut self, signal: u32) -> Result<(), Trouble> {
        if self.blocked & 1 << (signal - 1) != 0 {
            return Ok(());
        }
        let Some(&(Action::Handle { flags, mask }, handler)) = self.actions.get(&signal) else {
            return Ok(());
        };
        let sp = self.sp();
        let (frame, size) = match self.arch {
            // Past the red zone; the floating point state and the frame take about so much. A
            // handler is entered as if it had been called.
            Arch::Amd64 => (((sp - 128 - 1024) & !15) - 8, 1024),
            Arch::Arm64 => ((sp - 4688) & !15, 4688),
        };
        let junk = JUNK.to_le_bytes().repeat(size / 8);
        self.cpu
            .mem_write(frame, &junk)
            .map_err(|error| Trouble::Fault(format!("no stack for a signal: {error:?}")))?;
        match self.arch {
            Arch::Amd64 => {
                if flags & u64::from(linux::SA_RESTORER) == 0 {
                    return Err(Trouble::Fault("SIGSEGV: no restorer".to_owned()));
                }
                for (register, value) in [
                    (RegisterX86::RDI, u64::from(signal)),
                    (RegisterX86::RSI, frame + 512),
                    (RegisterX86::RDX, frame + 8),
                    (RegisterX86::RAX, 0),
                ] {
                    self.cpu.reg_write(register, value).unwrap();
                }
            }
            Arch::Arm64 => {
                for (register, value) in [
                    (RegisterARM64::X0, u64::from(signal)),
                    (RegisterARM64::X29, frame),
                    (RegisterARM64::X30, JUNK),
                ] {
                    self.cpu.reg_write(register, value).unwrap();
                }
            }
        }
        self.blocked |= mask | 1 << (signal - 1);
        self.set_sp(frame);
        self.set_pc(handler);
        self.events.borrow_mut().last = None;
        Ok(())
    }

    /// aarch64 faults where the stack pointer is not a multiple of 16 when memory is reached by it;
    /// x86_64 pushes words.
    fn see_stack_aligned(&self) -> Result<(), Trouble> {
        let sp = self.sp();
        let multiple = match self.arch {
            Arch::Amd64 => 8,
            Arch::Arm64 => 16,
        };
        if sp.is_multiple_of(multiple) {
            Ok(())
        } else {
            Err(Trouble::Misaligned(sp))
        }
    }

    /// All from the pointers to the arguments on is the caller's: argc's place is the stack's first.
    fn see_caller_untouched(&self) -> Result<(), Trouble> {
        let start = (self.argc_end - (self.stack_end - STACK)) as usize;
        let mut now = vec![0; self.initial_stack.len() - start];
        self.cpu.mem_read(self.argc_end, &mut now).unwrap();
        let first = now.iter().zip(&self.initial_stack[start..]);
        match first.into_iter().position(|(now, before)| now != before) {
            Some(offset) => Err(Trouble::Touched(offset as u64)),
            None => Ok(()),
        }
    }

    fn pc(&self) -> u64 {
        self.cpu.pc_read().unwrap()
    }

    fn set_pc(&mut self, address: u64) {
        self.cpu.set_pc(address).unwrap();
    }

    fn sp(&self) -> u64 {
        match self.arch {
            Arch::Amd64 => self.cpu.reg_read(RegisterX86::RSP).unwrap(),
            Arch::Arm64 => self.cpu.reg_read(RegisterARM64::SP).unwrap(),
        }
    }

    fn set_sp(&mut self, address: u64) {
        let done: Result<(), uc_error> = match self.arch {
            Arch::Amd64 => self.cpu.reg_write(RegisterX86::RSP, address),
            Arch::Arm64 => self.cpu.reg_write(RegisterARM64::SP, address),
        };
        done.unwrap();
    }
}

/// Runs all scenarios, each of which has to happen as it is told: what they used of the binary.
///
/// # Errors
///
/// The first one that does not happen so.
pub fn cover(binary: &Binary, scenarios: &[Scenario]) -> Result<Coverage> {
    let mut machine =
        Machine::new(&binary.bytes, binary.arch, true).map_err(|why| anyhow!("{why}"))?;
    for scenario in scenarios {
        let name = &scenario.name;
        machine
            .run(scenario)
            .map_err(|why| anyhow!("{}: {name}: {why}", binary.name()))?;
    }
    Ok(machine.coverage())
}

/// All that a program has, but the stack pointer and the one of instructions.
const X86_REGISTERS: [RegisterX86; 15] = {
    use RegisterX86::*;
    [
        RAX, RBX, RCX, RDX, RSI, RDI, RBP, R8, R9, R10, R11, R12, R13, R14, R15,
    ]
};

fn arm64_registers() -> [RegisterARM64; 31] {
    use RegisterARM64::*;
    [
        X0, X1, X2, X3, X4, X5, X6, X7, X8, X9, X10, X11, X12, X13, X14, X15, X16, X17, X18, X19,
        X20, X21, X22, X23, X24, X25, X26, X27, X28, X29, X30,
    ]
}

/// The numbers of the system calls.
pub struct Numbers {
    pub getpid: u64,
    pub write: u64,
    pub rt_sigaction: u64,
    pub wait4: u64,
    pub pause: Option<u64>,
    pub ppoll: Option<u64>,
    pub exit_group: u64,
}

/// Of that architecture: arch/x86/entry/syscalls/syscall_64.tbl, include/uapi/asm-generic/unistd.h.
pub fn numbers(arch: Arch) -> Numbers {
    match arch {
        Arch::Amd64 => Numbers {
            getpid: 39,
            write: 1,
            rt_sigaction: 13,
            wait4: 61,
            pause: Some(34),
            ppoll: None,
            exit_group: 231,
        },
        Arch::Arm64 => Numbers {
            getpid: 172,
            write: 64,
            rt_sigaction: 134,
            wait4: 260,
            pause: None,
            ppoll: Some(73),
            exit_group: 94,
        },
    }
}
