//! The files that ship keep the contract, and no byte of them is left over; a file with an error in it
//! does not, and the proof names the way there and an input that shows it.

use proof::{Program, elf, isa, kernel::CALLS, prove, solver::Solver};

#[test]
fn every_program_keeps_the_contract_and_every_byte_is_accounted_for() {
    for program in Program::all().unwrap() {
        let (name, platform) = (program.name(), program.platform);
        let report = program
            .prove()
            .unwrap_or_else(|error| panic!("{name}: {error:?}"));
        assert!(
            report.calls.iter().eq([&CALLS[..], &[platform.sleep.0]]
                .concat()
                .iter()
                .collect::<std::collections::BTreeSet<_>>()),
            "{name}: {:?}",
            report.calls
        );

        let size = program.bytes.len();
        let mut used = vec![false; size];
        used[..elf::code(platform)].fill(true);
        let headers = elf::code(platform);
        for (at, instruction) in &report.instructions {
            used[*at as usize..][..instruction.length as usize].fill(true);
        }
        let code = used.iter().filter(|it| **it).count() - headers;
        report.read.iter().for_each(|at| used[*at as usize] = true);
        let filler = used.iter().filter(|it| !**it).count();
        assert_eq!(
            filler, platform.filler,
            "{name}: bytes that nothing is told of"
        );
        println!(
            "{name}: {} paths, {} questions, {:.1} s; {size} bytes = {headers} of headers + {code} of {} instructions, all on a path \
             + {} of texts and numbers, all read + {filler} that align or end the code",
            report.paths,
            report.questions,
            report.time.as_secs_f64(),
            report.instructions.len(),
            size - headers - code - filler,
        );
    }
}

/// An error: what it is, of which program, the bytes that it replaces and those it puts there, and what
/// the proof says.
type Mistake = (
    &'static str,
    &'static str,
    &'static [u8],
    &'static [u8],
    &'static [&'static str],
);

const MISTAKES: [Mistake; 4] = [
    (
        "it takes other errors for EINTR: cmp al, -4 for cmp eax, -4",
        "amd64",
        b"\x83\xf8\xfc\x74",
        b"\x80\xf8\xfc\x74",
        &[
            "amd64, 0x175, syscall: calls pause where it should not",
            "pause.6 = -",
        ],
    ),
    (
        "it blocks SIGINT alone: push 2 for push 0x4002",
        "amd64",
        b"\x68\x02\x40\x00\x00",
        b"\x68\x02\x00\x00\x00",
        &["amd64, 0x13b, syscall: signal 2 blocks 0x2, not 0x4002"],
    ),
    (
        "its warning is one byte short: push 42 for push 43",
        "amd64",
        b"\x6a\x2b\x5a",
        b"\x6a\x2a\x5a",
        &[
            "amd64, 0x116, syscall: does not write the 43 bytes",
            "getpid.0 =",
        ],
    ),
    (
        "its handler's address is off by one: adr x4, #0xcd for adr x4, #0xcc",
        "arm64",
        b"\x64\x00\x00\x10",
        b"\x64\x00\x00\x30",
        &["arm64, 0xcd: there is no instruction", "signal 2"],
    ),
];

#[test]
fn a_mistake_is_found_and_shown() {
    for (what, name, right, wrong, said) in MISTAKES {
        let programs = Program::all().unwrap();
        let program = programs.iter().find(|it| it.platform.name == name).unwrap();
        let places: Vec<usize> = (0..program.bytes.len())
            .filter(|at| program.bytes[*at..].starts_with(right))
            .collect();
        let [place] = places[..] else {
            panic!("{what}: {places:x?}")
        };
        let mut file = program.bytes.clone();
        file[place..][..wrong.len()].copy_from_slice(wrong);
        let decoder = isa::Decoder::new(program.platform.isa);
        let result = prove(
            program.platform,
            &file,
            &decoder,
            &mut Solver::new().unwrap(),
        );
        let Err(error) = result else {
            panic!("{what}: it was proved")
        };
        let told = format!("{error:#}");
        println!("{what}\n{told}\n");
        said.iter()
            .for_each(|it| assert!(told.contains(it), "{it:?} is not in: {told}"));
    }
}
