//! End-to-end tests: the built program with a real Envoy, between fake providers and real clients.

// It always holds here, and tells clippy that helpers are test code as well.
#![cfg(test)]

#[path = "../common/mod.rs"]
mod common;
#[path = "../fakes/mod.rs"]
mod fakes;
mod harness;

mod access;
mod activity;
mod admin;
mod attached;
mod auth;
mod browser;
mod chaos;
mod clients;
mod cluster;
mod conversion;
mod demo;
mod fakes_alone;
mod faults;
mod hooks;
mod judges;
mod lifecycle;
mod live;
mod load;
mod metrics;
mod mtls;
mod on_demand;
mod overhead;
mod pages;
mod passthrough;
mod policies;
mod records;
mod reload;
mod remotes;
mod requests;
mod responses;
mod rolling;
mod rotation;
mod routing;
mod security;
mod timeouts;
mod tools;
mod traces;
