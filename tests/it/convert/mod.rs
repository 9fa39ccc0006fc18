//! Requests of one dialect, said in another.

mod fields;
mod goldens;
mod numbers;
mod odd;
mod regressions;
mod returns;
mod support;
