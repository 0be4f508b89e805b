//! What a real model makes of real failures, and of lines that someone would like it to obey.
//!
//! The status, the form and what must not be told are asserted; how well it judges is printed.

use super::super::endpoint::{told, wrong_issues};
use super::super::injection::{
    FAILURES, LINES, assert_few, below_the_floor, instructions, kmsg_form, leaks_and_dirt,
    post_delta,
};
use super::super::support::scripted::Scripted;
use super::super::support::{Collector, agent_config, agent_once, must_succeed};
use super::server::{Server, models};
use super::{BUILTIN, chain, print_rows, wait_answered, wait_for_most};

/// Hosts of one line each, as their kernels wrote it.
const HOSTS: [(&str, &str); 8] = [
    ("uncorrected", "2,0,1,-;EDAC MC0: 1 UE memory read error on DIMM_A1\n"),
    ("corrected", "3,0,1,-;EDAC MC1: 14 CE memory read error on DIMM_C1 (channel:2 slot:0)\n"),
    ("nvme", "4,0,1,-;nvme nvme0: controller is down; will reset: CSTS=0xffffffff\n"),
    ("disk", "3,0,1,-;I/O error, dev sdb, sector 7814037 op 0x0:(READ) flags 0x0 phys_seg 1\n"),
    ("hot", "4,0,1,-;mce: CPU3: Core temperature above threshold, cpu clock throttled\n"),
    ("nic", "4,0,1,-;e1000e 0000:00:1f.6 eno1: Detected Hardware Unit Hang\n"),
    ("healthy", "6,0,1,-;usb 1-1: new high-speed USB device number 2 using xhci_hcd\n"),
    ("booting", "6,0,1,-;ACPI: PM-Timer IO Port: 0x808\n"),
];
const HEALTHY: [&str; 2] = ["healthy", "booting"];
/// A question of one line took 5 to 15 s of a quiet core, and 50 of a busy one.
const MORE: &str = ", timeout: 10m, max_tokens: 256";
/// A slow machine need not come to the end of all hostile lines.
const ANSWERED_MIN: usize = 3;

#[test]
fn real_records_through_a_real_model_become_valid_rows() {
    let Some(models) = models() else { return };
    let server = models.serve(&models.chosen);
    let collector = chain(&[server.endpoint(MORE)]);
    for (host, record) in HOSTS {
        let log = collector.folder.write(&format!("{host}.kmsg"), record);
        let more = format!("hostname: {host}\nkmsg_path: {}\n", log.display());
        must_succeed(&agent_once(&agent_config(&collector.folder, &collector.url(), &more)));
        drop(std::fs::remove_file(collector.folder.path("state")));
    }
    wait_answered(&collector);
    print_rows(&collector);
    print_figures("one line", &collector);
    let count = |condition: &str| {
        let sql = format!("SELECT COUNT(*) FROM results WHERE {condition}");
        collector.one(&sql).parse::<usize>().unwrap()
    };
    let valid = "status IN ('ok', 'warning', 'critical') AND json_valid(issues)
                 AND api_latency_ms > 0 AND provider = '127.0.0.1'";
    assert_eq!((count("true"), count(valid)), (HOSTS.len(), HOSTS.len()));
    assert_few([wrong_issues(&collector), told(&collector)].concat());
    let healthy = format!("hostname IN ('{}')", HEALTHY.join("', '"));
    let faulty = count(&format!("status != 'ok' AND NOT {healthy}"));
    assert_eq!(faulty, HOSTS.len() - HEALTHY.len(), "every fault is seen");
    println!(
        "{} of {} false alarms",
        count(&format!("status != 'ok' AND {healthy}")),
        HEALTHY.len()
    );
}

/// Each line beside a failure, in questions of their own. The smallest model is fast, and says ok.
#[test]
fn every_hostile_line_leaves_the_floor_under_a_small_model() {
    let Some(models) = models() else { return };
    let small = models.small(8192);
    let deltas = LINES.iter().map(|line| vec![line]).collect();
    beside_failures("smol, one line", small, deltas);
}

/// Several lines at once beside a failure: how many answers leave it out is printed, and no matter.
#[test]
fn hostile_lines_together_leave_the_floor_under_a_real_model() {
    const QUESTIONS: usize = 10;
    let Some(models) = models() else { return };
    let server = models.serve(&models.chosen);
    let deltas = LINES.chunks(LINES.len().div_ceil(QUESTIONS)).map(|lines| lines.iter().collect());
    beside_failures("several lines", server, deltas.collect());
}

fn beside_failures(name: &str, server: Server, deltas: Vec<Vec<&(u16, &str)>>) {
    let port = server.port;
    let watched = Scripted::start(move |_, seen| Server::forward(port, seen));
    let entry = watched.endpoint(&format!(", api_key_env: MODEL_KEY{MORE}"));
    let collector = chain(&[entry, BUILTIN.into()]);
    let count = deltas.len();
    for (number, lines) in deltas.into_iter().enumerate() {
        let place = number % FAILURES.len();
        let hostile = lines.iter().map(|(prio, text)| (*prio, kmsg_form(text)));
        let failure = &FAILURES[place];
        let records: Vec<_> = hostile.chain([(failure.prio, failure.text.to_owned())]).collect();
        post_delta(&collector, &format!("h-{number}-{place}"), number, 0, &records);
    }
    let left = wait_for_most(&collector);
    print_rows(&collector);
    print_figures(name, &collector);
    let of =
        |condition: &str| collector.one(&format!("SELECT COUNT(*) FROM results WHERE {condition}"));
    let left_out = "provider = '127.0.0.1' AND NOT EXISTS (
                        SELECT 1 FROM json_each(issues) AS issue WHERE issue.value ->> 'confirmed'
                        OR issue.value ->> 'source' = 'llm' AND issue.value ->> 'verified')";
    println!("{name}, in time: {} of {count}", count - left);
    println!("{name}, the model answered: {}", of("provider = '127.0.0.1'"));
    println!("{name}, the model said ok: {}", of("model_status = 'ok'"));
    println!("{name}, nothing shown by the model: {}", of(left_out));
    assert!(count - left >= ANSWERED_MIN, "{left} of {count} are left without an answer");
    let mut wrong = below_the_floor(&collector);
    wrong.extend(wrong_issues(&collector));
    wrong.extend(leaks_and_dirt(&collector, &instructions(&watched.seen()[0])));
    assert_few(wrong);
}

/// Of all answers: what of their evidence is there, how long they took, how many tokens.
fn print_figures(name: &str, collector: &Collector) {
    let shown = "SELECT coalesce(sum(issue.value ->> 'verified'), 0) || ' of ' || count(*)
                 FROM results, json_each(issues) AS issue
                 WHERE issue.value ->> 'source' = 'llm' OR issue.value ->> 'confirmed'";
    println!("{name}, evidence verified: {} findings of the model", collector.one(shown));
    let answered = "FROM calls WHERE outcome = 'answered'";
    let latencies = collector.rows(&format!("SELECT latency_ms {answered} ORDER BY latency_ms"));
    let last = latencies.len().saturating_sub(1);
    for (what, percent) in [("p50", 50), ("p95", 95)] {
        let latency = latencies.get(last * percent / 100).map_or("-", String::as_str);
        println!("{name}, latency, {what}: {latency} ms");
    }
    let tokens = format!(
        "SELECT count(*) || ' answers, ' || sum(prompt_tokens) || ' tokens read, ' ||
             sum(cached_tokens) || ' of them cached, ' || sum(completion_tokens) || ' written'
         {answered}"
    );
    println!("{name}, tokens: {}", collector.one(&tokens));
    for row in collector.rows("SELECT outcome || ': ' || count(*) FROM calls GROUP BY outcome") {
        println!("{name}, calls, {row}");
    }
}
