//! The files that ship keep the contract, and no byte of them is left over; a file with an error in it
//! does not, and the proof names the way there and an input that shows it.

use proof::{Program, Prover, elf};

#[test]
fn every_program_keeps_the_contract_and_every_byte_is_accounted_for() {
    for program in Program::all().unwrap() {
        let (name, platform) = (program.name(), program.platform);
        let report = program.prove();
        let report = report.unwrap_or_else(|error| panic!("{name}: {error:?}"));
        let calls = platform.calls().map(|it| it.0).collect();
        assert_eq!(report.calls, calls, "{name}");

        let size = program.bytes.len();
        let headers = elf::code(platform);
        let is_code = |at: &usize| report.instruction_around(*at).is_some();
        let (code, other): (Vec<_>, Vec<_>) = (headers..size).partition(is_code);
        let is_read = |at: &usize| report.read.contains(&(*at as i64));
        let (read, filler): (Vec<_>, Vec<_>) = other.into_iter().partition(is_read);
        let is_told = filler.len() == platform.filler;
        assert!(
            is_told,
            "{name}: bytes that nothing is told of: {filler:x?}"
        );
        let (code, read, filler) = (code.len(), read.len(), filler.len());
        let (paths, questions, count) = (report.paths, report.questions, report.instructions.len());
        println!(
            "{name}: {paths} paths, {questions} questions, {:.1} s; {size} bytes = {headers} of headers + \
             {code} of {count} instructions, all on a path + {read} of texts and numbers, all read + \
             {filler} that align or end the code",
            report.time.as_secs_f64(),
        );
    }
}

/// Errors: of which program, what it is, the bytes that it replaces and those it puts there, how
/// what the proof says begins, and what it has.
type Mistake<'a> = (&'a str, &'a str, &'a [u8], &'a [u8], [&'a str; 2]);

const MISTAKES: [Mistake; 4] = [
    (
        "amd64",
        "it takes other errors for EINTR: cmp al, -4 for cmp eax, -4",
        b"\x83\xf8\xfc\x74",
        b"\x80\xf8\xfc\x74",
        [
            "0x175, syscall: calls pause where it should not",
            "pause.6 = -",
        ],
    ),
    (
        "amd64",
        "it blocks SIGINT alone: push 2 for push 0x4002",
        b"\x68\x02\x40\x00\x00",
        b"\x68\x02\x00\x00\x00",
        [
            "0x13b, syscall: signal 2 blocks 0x2, not 0x4002",
            "flags 0x4000000, mask 0x2",
        ],
    ),
    (
        "amd64",
        "its warning is one byte short: push 42 for push 43",
        b"\x6a\x2b\x5a",
        b"\x6a\x2a\x5a",
        ["0x116, syscall: does not write the 43 bytes", "getpid.0 ="],
    ),
    (
        "arm64",
        "its handler's address is off by one: adr x4, #0xcd for adr x4, #0xcc",
        b"\x64\x00\x00\x10",
        b"\x64\x00\x00\x30",
        ["0xcd: there is no instruction", "signal 2"],
    ),
];

#[test]
fn a_mistake_is_found_and_shown() {
    let programs = Program::all().unwrap();
    for (name, what, right, wrong, said) in MISTAKES {
        let mut programs = programs.iter().filter(|it| it.platform.name == name);
        let program = programs.next().unwrap();
        let bytes = &program.bytes;
        let places = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(right));
        let [place] = places.collect::<Vec<_>>()[..] else {
            panic!("{what}: it is not in {name} once");
        };
        let mut file = bytes.clone();
        file[place..][..wrong.len()].copy_from_slice(wrong);
        let Err(error) = Prover::new(program.platform).unwrap().prove(&file) else {
            panic!("{what}: it was proved")
        };
        let told = format!("{error:#}");
        println!("{what}\n{told}\n");
        assert!(told.starts_with(&format!("{name}, {}", said[0])), "{told}");
        assert!(told.contains(said[1]), "{told}");
    }
}
