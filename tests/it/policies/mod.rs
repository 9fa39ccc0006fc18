//! Built-in policies that have a table of cases.

mod command_guard;
