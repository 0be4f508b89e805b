//! Parts of a stack trace: registers, code bytes, frames, and what the kernel prints around them.
//!
//! Pure; `event_form` drives it. Only asked of a record that follows the beginning of a trace, so
//! that a beginning in common with other records does no harm.

/// Whether a text can be part of a trace, of an oops, a hung task, a stall or an OOM report.
pub(super) fn is_trace_part(text: &str) -> bool {
    let trimmed = text.trim_start().trim_start_matches("\\x09");
    trimmed.is_empty()
        // The kernel indents what belongs to the line before.
        || trimmed.len() < text.len()
        || BEGINNINGS.iter().any(|begin| trimmed.starts_with(begin))
        || has_frame(trimmed)
        || is_register(trimmed)
        || is_dump(trimmed)
        || is_count(trimmed)
        || is_task(trimmed)
}

const BEGINNINGS: &[&str] = &[
    "Call Trace:",
    "Call trace:",
    "<",
    "RIP: ",
    "RSP: ",
    "EIP: ",
    "EIP is at ",
    "PC is at ",
    "LR is at ",
    "Code: ",
    "Modules linked in:",
    "[last unloaded",
    "CPU: ",
    "CPU#",
    "Pid: ",
    "PID: ",
    "Hardware name:",
    "Hardware Name:",
    "Tainted: ",
    "Workqueue: ",
    "task:",
    "Task dump for",
    "---[ end ",
    "Kernel Offset: ",
    "Rebooting in ",
    "PGD ",
    "#PF: ",
    "Oops",
    "Process ",
    "Stack:",
    "note: ",
    "fixing recursive fault",
    "PKRU: ",
    "ORIG_RAX",
    "pstate: ",
    "pc : ",
    "lr : ",
    "sp : ",
    "NIP ",
    "LR ",
    "MSR: ",
    "CFAR: ",
    "GPR",
    "Instruction dump:",
    "Backtrace:",
    "Exception stack",
    "Mem abort info:",
    "Data abort info:",
    "swapper pgtable",
    "user pgtable",
    "Internal error: ",
    "invalid opcode",
    "general protection fault",
    "divide error",
    "double fault",
    "stack segment",
    "Sending NMI ",
    "NMI backtrace for ",
    "NMI watchdog: ",
    "\"echo 0 > /proc/sys/",
    "Showing ",
    "Kernel panic - ",
    "rcu: ",
    "(t=",
    "(detected by",
    "handlers:",
    "Disabling IRQ #",
    "Last Breaking-Event",
    "Krnl ",
    "PREEMPT ",
    "IP: ",
    "Dumping ftrace",
    "Shutting down cpus with NMI",
    "Mem-Info:",
    "active_anon:",
    "Node ",
    "DMA",
    "Normal",
    "HighMem",
    "Movable",
    "lowmem_reserve[]:",
    "Swap cache stats:",
    "Free swap",
    "Total swap",
    "oom-kill:",
    "oom_reaper: ",
    "Out of memory",
    "Memory cgroup ",
    "Killed process ",
    "Tasks state ",
    "Unreclaimable slab info",
    "memory: usage ",
    "swap: usage ",
    "kmem: usage ",
    "memory+swap: usage ",
    "[ pid ]",
    "[  pid  ]",
    "page:",
    "page dumped because",
    "flags: ",
    "raw: ",
    "head:",
    "addr:",
    "Object ",
    "Redzone ",
    "Padding ",
    "Allocated by task",
    "Freed by task",
    "CR2: ",
    "CS: ",
    "KASAN: ",
    "Uninit was",
    "hex dump",
    "GPF",
];

/// `? name+0x1f5/0x5c0 [module]`, with or without its address.
fn has_frame(text: &str) -> bool {
    let text = text.strip_prefix("? ").unwrap_or(text);
    let digits = |rest: &str| rest.bytes().take_while(u8::is_ascii_hexdigit).count();
    let is_frame = text
        .split_once("+0x")
        .is_some_and(|(name, rest)| !name.contains(' ') && rest[digits(rest)..].starts_with("/0x"));
    is_frame || text.starts_with("[<")
}

/// `RAX: 0000000000000000 ...`, `x29: ffff800012abc000`, `R10: 0000`, `FS:  0000`.
fn is_register(text: &str) -> bool {
    let Some((name, value)) = text.split_once(':') else { return false };
    let name = name.trim_end();
    let value = value.trim_start();
    let of_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let digits = value.bytes().take_while(u8::is_ascii_hexdigit).count();
    (2..=8).contains(&name.len())
        && name.bytes().all(of_name)
        && digits >= REGISTER_DIGITS_MIN
        && value[digits..].starts_with([' ', '(']) | (value.len() == digits)
}

/// Of a register of 32 bits; shorter numbers stand behind the names of devices.
const REGISTER_DIGITS_MIN: usize = 8;

/// Bytes and words in hexadecimal: stack, code, memory.
fn is_dump(text: &str) -> bool {
    let (first, rest) = text.split_once(' ').unwrap_or((text, ""));
    let hexadecimal = |word: &str| {
        let word = word.trim_matches(['<', '>', '(', ')', ':']);
        word.len() >= 2 && word.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    hexadecimal(first)
        && rest.split(' ').next().is_some_and(|word| word.is_empty() || hexadecimal(word))
}

/// `5941 total pagecache pages`, `1048445 pages RAM`.
fn is_count(text: &str) -> bool {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    digits > 0 && text[digits..].contains(" page")
}

/// `[ 1234]     0  1234 ...` of the table of tasks, `kworker/1:0     R  running task ...`.
fn is_task(text: &str) -> bool {
    let listed = || {
        let (pid, _) = text.strip_prefix('[')?.split_once(']')?;
        let pid = pid.trim();
        (!pid.is_empty() && pid.bytes().all(|byte| byte.is_ascii_digit())).then_some(())
    };
    listed().is_some() || text.contains("running task") || text.contains(" pid:")
}
