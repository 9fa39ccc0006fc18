//! The subcommands, one file each: arguments, and a function that does the work and prints to a given writer.

pub mod demo_provider;
pub mod envoy_config;
pub mod exec_envoy;
