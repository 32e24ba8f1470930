//! A proof, for every input, that the machine code which ships does what it promises. Read
//! [`contract`] for what that is.

pub mod contract;
pub mod explore;
pub mod isa;
pub mod kernel;
pub mod solver;
pub mod term;
