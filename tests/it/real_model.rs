//! One run against a real model behind a real OpenAI-compatible server: `make real-model`.
//!
//! The server and the model come from beside the project (`../shared/llm`), which a stranger's
//! clone does not have: the test says that it skips. What a small model finds is not judged here;
//! that its answers become valid rows is.

use std::path::Path;
use std::process::Command;

use super::support::{Collector, agent_config, agent_once, must_succeed, skip};

struct Server(String);

impl Drop for Server {
    fn drop(&mut self) {
        drop(Command::new("kill").arg(&self.0).status());
    }
}

#[test]
fn real_records_through_a_real_model_become_valid_rows() {
    let Ok(model) = std::env::var("TASSEOGRAPH_REAL_MODEL") else {
        return skip("TASSEOGRAPH_REAL_MODEL is not set; make real-model sets it");
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let script = root.join("../shared/llm/serve-llm.sh");
    if !script.exists() {
        return skip("../shared/llm/serve-llm.sh is not beside the project");
    }
    let port = super::support::own_port();
    let folder = root.join("target/real-model");
    let output = Command::new("bash")
        .arg(&script)
        .arg(&folder)
        .args([&port.to_string(), "model-key", &model])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", super::support::text(&output.stderr));
    let pid = std::fs::read_to_string(folder.join(format!("server-{port}.pid"))).unwrap();
    let _server = Server(pid.trim().to_owned());
    let collector = Collector::with_environment(
        &format!(
            "llm_endpoints:\n  - {{url: \"http://127.0.0.1:{port}/v1\", model: {model}, \
             api_key_env: MODEL_KEY, timeout: 10m}}\n"
        ),
        &[("MODEL_KEY", "model-key")],
    );
    for (host, record) in [
        ("uncorrected", "2,0,1,-;EDAC MC0: 1 UE memory read error on DIMM_A1\n"),
        ("nvme", "4,0,1,-;nvme nvme0: controller is down; will reset: CSTS=0xffffffff\n"),
        ("healthy", "6,0,1,-;usb 1-1: new high-speed USB device number 2 using xhci_hcd\n"),
    ] {
        let log = collector.folder.write(&format!("{host}.kmsg"), record);
        let more = format!("hostname: {host}\nkmsg_path: {}\n", log.display());
        must_succeed(&agent_once(&agent_config(&collector.folder, &collector.url(), &more)));
        drop(std::fs::remove_file(collector.folder.path("state")));
    }
    let begun = std::time::Instant::now();
    while collector.one("SELECT COUNT(*) FROM deltas WHERE state != 'done'") != "0" {
        assert!(begun.elapsed().as_secs() < 600, "{}", collector.process.log());
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    for row in collector.rows(
        "SELECT hostname || ': ' || status || ' by ' || model || ' in ' || api_latency_ms ||
             ' ms ' || issues || ' ' || coalesce(note, '') FROM results ORDER BY id",
    ) {
        println!("{row}");
    }
    assert_eq!(collector.one("SELECT COUNT(*) FROM results"), "3");
    let valid = "SELECT COUNT(*) FROM results WHERE status IN ('ok', 'warning', 'critical')
                 AND json_valid(issues) AND api_latency_ms > 0 AND provider = '127.0.0.1'";
    assert_eq!(collector.one(valid), "3");
    let enums = "SELECT COUNT(*) FROM findings WHERE severity NOT IN ('warning', 'critical')
                 OR category NOT IN ('memory', 'storage', 'network', 'thermal', 'driver')";
    assert_eq!(collector.one(enums), "0");
    assert_eq!(
        collector
            .one("SELECT COUNT(*) FROM results WHERE status != 'ok' AND hostname != 'healthy'"),
        "2",
        "both faults are seen by the model"
    );
}
