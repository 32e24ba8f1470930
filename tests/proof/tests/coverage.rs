//! Each byte that ships is of use: run, read, or a field of a header; and each branch goes both ways.

use proof::{
    Binary, code, elf,
    machine::{Answer, Coverage, Machine, Scenario, Step, cover},
    scenarios,
};
use std::collections::BTreeSet;

/// What is missing of the coverage, in words.
fn gaps(binary: &Binary, coverage: &Coverage) -> Vec<String> {
    let mut used = BTreeSet::new();
    used.extend(0..elf::HEADERS);
    let mut gaps = Vec::new();
    for instruction in code::instructions(binary) {
        let start = instruction.place.start;
        match coverage.executed.get(&(start as u64)) {
            None => gaps.push(format!("never run: {start:#x} {}", instruction.text)),
            Some(next) => {
                if instruction.is_conditional && next.len() != 2 {
                    gaps.push(format!("one way only: {start:#x} {}", instruction.text));
                }
                used.extend(instruction.place);
            }
        }
    }
    // Read as data: what is code is so by being run.
    let code_end = code::end(&binary.bytes);
    let read = coverage.read.iter().flat_map(Clone::clone);
    used.extend(read.map(|at| at as usize).filter(|at| *at >= code_end));
    let unused = (0..binary.bytes.len()).filter(|at| !used.contains(at));
    gaps.extend(unused.map(|at| format!("of no use: byte {at:#x}")));
    // What was run has to be what was taken apart.
    let starts: BTreeSet<u64> = code::instructions(binary)
        .iter()
        .map(|it| it.place.start as u64)
        .collect();
    let others = coverage.executed.keys().filter(|at| !starts.contains(at));
    gaps.extend(others.map(|at| format!("run, but no instruction: {at:#x}")));
    gaps
}

#[test]
fn every_byte_is_of_use_and_every_branch_goes_both_ways() {
    for binary in Binary::all() {
        let scenarios = scenarios::all(binary.arch);
        let coverage = cover(&binary, &scenarios).unwrap();
        let missing = gaps(&binary, &coverage);
        assert!(missing.is_empty(), "{}: {missing:#?}", binary.name());

        let code = code::instructions(&binary);
        let branches = code.iter().filter(|it| it.is_conditional).count();
        let code_end = code::end(&binary.bytes);
        println!(
            "coverage of {}: {} scenarios; {} bytes = {} of headers + {} of {} instructions, all run \
             + {} of messages, all read; {branches} conditional branches, all both ways",
            binary.name(),
            scenarios.len(),
            binary.bytes.len(),
            elf::HEADERS,
            code_end - elf::CODE,
            code.len(),
            binary.bytes.len() - code_end,
        );
    }
}

/// Without the scenarios that one part is about, there are gaps: they are seen.
#[test]
fn gaps_are_seen() {
    for binary in Binary::all() {
        let all = scenarios::all(binary.arch);
        for (what, part) in [
            ("the version", "-"),
            ("the warning", "process"),
            ("refused actions", "action"),
            ("SIGINT", "leaves on SIGINT"),
        ] {
            let is_part = |it: &&Scenario| {
                it.name.contains(part)
                    || part == "leaves on SIGINT" && it.name != "leaves on SIGTERM"
            };
            let rest: Vec<Scenario> = all.iter().filter(|it| !is_part(it)).cloned().collect();
            let missing = gaps(&binary, &cover(&binary, &rest).unwrap());
            assert!(!missing.is_empty(), "{}: {what}", binary.name());
        }
    }
}

/// The calls that the contract allows, all of which are made.
#[test]
fn no_system_call_but_those_six_is_reached() {
    for binary in Binary::all() {
        let coverage = cover(&binary, &scenarios::all(binary.arch)).unwrap();
        let made: BTreeSet<u64> = coverage.calls.into_iter().collect();
        let numbers = proof::machine::numbers(binary.arch);
        let allowed = BTreeSet::from([
            numbers.getpid,
            numbers.write,
            numbers.rt_sigaction,
            numbers.wait4,
            numbers.pause.or(numbers.ppoll).unwrap(),
            numbers.exit_group,
        ]);
        assert_eq!(made, allowed, "{}", binary.name());
    }
}

/// From any instruction on, once it is taken: the handler needs nothing of what was there before.
#[test]
fn leaves_wherever_a_signal_comes() {
    for binary in Binary::all() {
        let mut machine = Machine::new(&binary.bytes, binary.arch, true).unwrap();
        let scenarios = scenarios::all(binary.arch);
        let teller = scenarios::teller(binary.arch);
        let mut instants = 0;
        for scenario in scenarios.iter().filter(|it| !ends_on_a_signal_early(it)) {
            for signal in [2, 15] {
                let end: Vec<Step> = teller.ends(signal);
                for after in 0.. {
                    let came = machine.run_with_signal(scenario, Some((after, signal, &end)));
                    match came {
                        Ok(true) => instants += 1,
                        Ok(false) => break,
                        Err(trouble) => panic!(
                            "{}: {}, signal {signal} after {after} instructions: {trouble}",
                            binary.name(),
                            scenario.name
                        ),
                    }
                }
            }
        }
        println!("signals at {instants} instants of {}", binary.name());
        assert!(instants > 500);
    }
}

/// A signal that comes while another's handler runs is blocked; that has scenarios of its own.
fn ends_on_a_signal_early(scenario: &Scenario) -> bool {
    let signals = |step: &Step| matches!(step.answer, Answer::Interrupted(..));
    scenario.story.iter().any(signals)
}
