//! Rules from an API server: the double in every run, and a real one where `LUTHIEN_TEST_KUBECONFIG` leads to it.

mod config_map;
mod objects;
mod outages;
mod replicas;
mod rights;
mod schema;
mod world;
