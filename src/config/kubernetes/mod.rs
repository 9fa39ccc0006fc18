//! Rules from Kubernetes: `LuthienPolicy` objects, or one ConfigMap, read through the API server.

pub mod crd;
mod structural;
