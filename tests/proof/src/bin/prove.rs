use proof::{explore::Proof, isa, kernel::PLATFORMS, solver::Solver};
fn main() {
    for platform in &PLATFORMS {
        let only = std::env::args().nth(1);
        if only.is_some_and(|it| it != platform.name) { continue; }
        let bytes = std::fs::read(format!("target/pause/{}/pause", platform.name)).unwrap();
        let entry = if platform.isa.bits == 64 { u64::from_le_bytes(bytes[24..32].try_into().unwrap()) } else { u32::from_le_bytes(bytes[24..28].try_into().unwrap()).into() };
        let entry = if platform.isa.is_big_endian { entry.swap_bytes() } else { entry };
        let start = std::time::Instant::now();
        let mut solver = Solver::new().unwrap();
        let decoder = isa::decoder(platform.isa);
        let mut proof = Proof::new(platform, &bytes, &decoder, &mut solver);
        let r = proof.run(entry as i64);
        let paths = proof.paths;
        println!("{}: {} paths, {} questions, {:?}", platform.name, paths, solver.questions, start.elapsed());
        if let Err(e) = r { println!("{e:?}"); }
    }
}
