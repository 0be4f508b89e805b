//! What records mean: the signature table, the prompt for a model, and a reply made into a verdict.
//!
//! Pure: asks nobody, stores nothing. `collector` and `analyze` drive it.

mod explain;
mod floor;
mod prompt;
mod quotes;
mod reply;
mod signature_adapter;
mod signature_array;
mod signature_benign;
mod signature_controller;
mod signature_disk;
mod signature_filesystem;
mod signature_gpu;
mod signature_incident;
mod signature_kernel;
mod signature_match;
mod signature_memory;
mod signature_names;
mod signature_network;
mod signature_nvme;
mod signature_part;
mod signature_pattern;
mod signature_pci;
mod signature_table;
mod signature_thermal;
mod signatures;
mod twins;
mod verdict;

pub(crate) use explain::{catalogue, explain};
pub(crate) use floor::settle;
pub(crate) use prompt::{PROMPT_VERSION, Prompt};
pub(crate) use signature_match::signature_count;
pub(crate) use signatures::judge;
pub(crate) use verdict::{Category, Issue, Severity, Source, Status, Verdict};
