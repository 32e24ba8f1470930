//! pause in a cgroup with limits, and in a frozen one. Needs root.

use nix::sys::signal::Signal::SIGTERM;
use sandbox::{
    End, Sandbox,
    cgroup::Cgroup,
    page_size,
    program::{Program, TERMINATED},
};

promises!(
    reaps_while_frozen_and_exits_once_thawed;
    natively: runs_in_sixteen_pages,
    runs_if_one_process_is_the_limit,
);

fn reaps_while_frozen_and_exits_once_thawed(program: &Program) {
    let cgroup = Cgroup::new("freezer");
    let sandbox = Sandbox::start(program);
    cgroup.add(sandbox.pid);
    cgroup.freeze(true);
    sandbox.expect_reaping();
    cgroup.freeze(false);
    sandbox.wait_until_asleep();

    cgroup.freeze(true);
    sandbox.signal(SIGTERM);
    cgroup.freeze(false);
    assert_eq!(sandbox.end(), End::exit(0, "", TERMINATED));
}

/// 64 KiB where a page has 4 KiB, kernel memory included, limited before pause starts. Native programs only,
/// as is the next test: an emulator needs more.
fn runs_in_sixteen_pages(program: &Program) {
    let cgroup = Cgroup::new("memory");
    let limit = 16 * page_size();
    cgroup.limit_memory(limit);
    let sandbox = Sandbox::start_after(program, cgroup.enter());
    sandbox.expect_reaping();
    let charged = cgroup.charged();
    assert!((1..=limit).contains(&charged), "{charged} of {limit} bytes");
    sandbox.expect_end(SIGTERM, TERMINATED);
}

fn runs_if_one_process_is_the_limit(program: &Program) {
    let cgroup = Cgroup::new("pids");
    cgroup.limit_processes(1);
    let sandbox = Sandbox::start_after(program, cgroup.enter());
    sandbox.expect_reaping();
    sandbox.expect_end(SIGTERM, TERMINATED);
}
