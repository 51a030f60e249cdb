//! A small guest that follows instructions, however harmful. It has the same parts as a Python
//! guest, and its "source" is a list of instructions.

use std::{fmt::Write, io::Seek, sync::Arc, time::Duration};

use cellblock_exec::{Capture, HostTools, python::HostCalls};
use wasmtime::Module;

use crate::{
    engine::{self, TickingEngine},
    fs::{Fs, Quota, WORKSPACE},
    host::TurnState,
    images::strip,
    imports,
    memory::{Guest, MemoryImage, RestGlobal, Slot, Template},
    turn::{self, TurnBounds, TurnEnd},
};

/// The calls of WASI preview 1 with their parameters: `i` for 32 bits, `I` for 64.
pub const CALLS: [(&str, &str); 46] = [
    ("args_get", "ii"),
    ("args_sizes_get", "ii"),
    ("clock_res_get", "ii"),
    ("clock_time_get", "iIi"),
    ("environ_get", "ii"),
    ("environ_sizes_get", "ii"),
    ("fd_advise", "iIIi"),
    ("fd_allocate", "iII"),
    ("fd_close", "i"),
    ("fd_datasync", "i"),
    ("fd_fdstat_get", "ii"),
    ("fd_fdstat_set_flags", "ii"),
    ("fd_fdstat_set_rights", "iII"),
    ("fd_filestat_get", "ii"),
    ("fd_filestat_set_size", "iI"),
    ("fd_filestat_set_times", "iIIi"),
    ("fd_pread", "iiiIi"),
    ("fd_prestat_dir_name", "iii"),
    ("fd_prestat_get", "ii"),
    ("fd_pwrite", "iiiIi"),
    ("fd_read", "iiii"),
    ("fd_readdir", "iiiIi"),
    ("fd_renumber", "ii"),
    ("fd_seek", "iIii"),
    ("fd_sync", "i"),
    ("fd_tell", "ii"),
    ("fd_write", "iiii"),
    ("path_create_directory", "iii"),
    ("path_filestat_get", "iiiii"),
    ("path_filestat_set_times", "iiiiIIi"),
    ("path_link", "iiiiiii"),
    ("path_open", "iiiiiIIii"),
    ("path_readlink", "iiiiii"),
    ("path_remove_directory", "iii"),
    ("path_rename", "iiiiii"),
    ("path_symlink", "iiiii"),
    ("path_unlink_file", "iii"),
    ("poll_oneoff", "iiii"),
    ("proc_exit", "i"),
    ("proc_raise", "i"),
    ("random_get", "ii"),
    ("sched_yield", ""),
    ("sock_accept", "iii"),
    ("sock_recv", "iiiiii"),
    ("sock_send", "iiiii"),
    ("sock_shutdown", "ii"),
];

/// The memory that the guest starts with, in pages of WebAssembly and in bytes.
pub const PAGES: u64 = 384;
pub const BYTES: u64 = PAGES * 65536;
/// The address of the guest's source.
pub const SOURCE: u64 = 0x2_0000;
/// The address of a word: the result of `host_alloc`, unless the word is `u32::MAX`.
pub const ALLOCATOR: u64 = 16;
/// The value at rest of the guest's stack pointer.
pub const STACK_POINTER: i32 = 65536;
/// The address and the content of data that the guest has from its beginning.
pub const DATA: (u64, &str) = (1024, "data of the guest");

/// A way to trap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    Unreachable,
    DivisionByZero,
    Overflow,
    OutOfBounds,
    Conversion,
    NullCall,
    WrongCall,
    Exception,
}

/// The instructions for the guest, and the data that they use.
#[derive(Debug, Clone, Default)]
pub struct Program {
    data: Vec<u8>,
    instructions: Vec<[u64; 10]>,
}

/// The instructions in WebAssembly, by their numbers. `$a`, `$b` and `$c` are their arguments.
const INSTRUCTIONS: [&str; 14] = [
    "(return (local.get $last))",
    "(local.set $last (call $dispatch (i32.load offset=4 (local.get $at)) (local.get $at)))",
    "(i32.store8 (local.get $a) (local.get $b))",
    "(memory.fill (local.get $a) (local.get $b) (local.get $c))",
    "(local.set $last (memory.grow (local.get $a)))",
    "(memory.copy (local.get $a) (local.get $b) (local.get $c))",
    "(loop $forever (br $forever))",
    "(call $recurse)",
    "(call $fault (local.get $a))",
    "(global.set $stack_pointer (local.get $a))",
    "(local.set $times (local.get $a))",
    "(drop (call $throw_and_catch))",
    "(call $hoard (local.get $a))",
    "(local.set $last (i32.load8_u (local.get $a)))",
];

impl Program {
    /// Adds bytes to the guest's memory; returns their address.
    pub fn data(&mut self, bytes: &[u8]) -> u64 {
        // Records have to be aligned.
        self.data.resize(self.data.len().next_multiple_of(8), 0);
        let address = SOURCE + 8 + self.data.len() as u64;
        self.data.extend_from_slice(bytes);
        address
    }

    /// Adds words to the guest's memory, such as a list of vectors; returns their address.
    pub fn words(&mut self, words: &[u64]) -> u64 {
        let bytes: Vec<u8> = words.iter().flat_map(|word| (*word as u32).to_le_bytes()).collect();
        self.data(&bytes)
    }

    fn push(mut self, instruction: u64, arguments: &[u64]) -> Self {
        let mut words = [0; 10];
        words[0] = instruction;
        words[1..=arguments.len()].copy_from_slice(arguments);
        self.instructions.push(words);
        self
    }

    /// Adds a WASI call, whose result becomes that of the turn.
    pub fn call(self, name: &str, arguments: &[u64]) -> Self {
        let index = CALLS.iter().position(|(call, _)| *call == name).unwrap();
        assert_eq!(CALLS[index].1.len(), arguments.len(), "{name}");
        self.push(1 | (index as u64) << 32, arguments)
    }

    pub fn store(self, address: u64, byte: u8) -> Self {
        self.push(2, &[address, byte.into()])
    }

    pub fn fill(self, address: u64, byte: u8, len: u64) -> Self {
        self.push(3, &[address, byte.into(), len])
    }

    pub fn grow(self, pages: u64) -> Self {
        self.push(4, &[pages])
    }

    pub fn copy(self, to: u64, from: u64, len: u64) -> Self {
        self.push(5, &[to, from, len])
    }

    pub fn spin(self) -> Self {
        self.push(6, &[])
    }

    pub fn recurse(self) -> Self {
        self.push(7, &[])
    }

    pub fn fault(self, fault: Fault) -> Self {
        self.push(8, &[fault as u64])
    }

    pub fn set_stack_pointer(self, value: u64) -> Self {
        self.push(9, &[value])
    }

    /// Repeats the next instruction.
    pub fn repeat(self, times: u64) -> Self {
        self.push(10, &[times])
    }

    pub fn throw_and_catch(self) -> Self {
        self.push(11, &[])
    }

    /// Throws and catches exceptions recursively, so that `count` of them are alive at once.
    pub fn hoard_exceptions(self, count: u64) -> Self {
        self.push(12, &[count])
    }

    /// Reads a byte, which becomes the turn's result.
    pub fn load(self, address: u64) -> Self {
        self.push(13, &[address])
    }

    /// Encodes the program as the guest's source.
    pub fn source(&self) -> Vec<u8> {
        let data_len = self.data.len().next_multiple_of(8);
        let mut source = (8 + data_len as u64).to_le_bytes().to_vec();
        source.extend_from_slice(&self.data);
        source.resize(8 + data_len, 0);
        source.extend(self.instructions.iter().flatten().flat_map(|word| word.to_le_bytes()));
        source.extend([0; 80]);
        source
    }
}

/// Returns the guest's module as text.
pub fn text() -> String {
    let mut imports = String::new();
    let mut calls = Vec::new();
    for (name, parameters) in CALLS {
        let types: Vec<&str> =
            parameters.chars().map(|p| if p == 'i' { "i32" } else { "i64" }).collect();
        let result = if name == "proc_exit" { "" } else { "(result i32)" };
        let types = types.join(" ");
        writeln!(
            imports,
            r#"(import "wasi_snapshot_preview1" "{name}" (func ${name} (param {types}) {result}))"#
        )
        .unwrap();
        let mut call = format!("(call ${name}");
        for (index, parameter) in parameters.char_indices() {
            let offset = 8 + 8 * index;
            let load = if parameter == 'i' { "i32.load" } else { "i64.load" };
            write!(call, " ({load} offset={offset} (local.get $at))").unwrap();
        }
        call += ")";
        calls.push(if result.is_empty() {
            format!("{call} (return (i32.const 0))")
        } else {
            format!("(return {call})")
        });
    }
    let faults = [
        "(unreachable)",
        "(drop (i32.div_s (i32.const 1) (local.get $zero)))",
        "(drop (i32.div_s (i32.const 0x80000000) (i32.const -1)))",
        "(drop (i32.load (i32.const -1)))",
        "(drop (i32.trunc_f64_s (f64.const nan)))",
        "(call_indirect (i32.const 0))",
        "(call_indirect (param i32) (i32.const 1) (i32.const 1))",
        "(throw $oops (i32.const 1))",
    ]
    .map(str::to_owned);
    let instructions: Vec<String> =
        INSTRUCTIONS.iter().map(|body| format!("{body} (br $next)")).collect();
    format!(
        r#"(module
            {imports}
            (import "host" "call" (func $host_call (param i32 i32 i32 i32) (result i32)))
            (memory (export "memory") {PAGES})
            (table 2 funcref)
            (elem (i32.const 1) $recurse)
            (tag $oops (param i32))
            (global $stack_pointer (mut i32) (i32.const {STACK_POINTER}))
            (global $constant i32 (i32.const 7))
            (data (i32.const {data_at}) "{data}")
            (data (i32.const {ALLOCATOR}) "\ff\ff\ff\ff")
            (func (export "host_alloc") (param i32) (result i32)
                (select (i32.const {SOURCE}) (i32.load (i32.const {ALLOCATOR}))
                    (i32.eq (i32.load (i32.const {ALLOCATOR})) (i32.const -1))))
            (func $recurse (call $recurse) (call $recurse))
            (func $fault (param $fault i32) (local $zero i32) {faults})
            (func $throw_and_catch (result i32)
                (block $caught (result i32)
                    (try_table (catch $oops $caught) (throw $oops (i32.const 5)))
                    (unreachable)))
            (func $hoard (param $count i32) (local $exception exnref)
                (block $caught (result exnref)
                    (try_table (catch_all_ref $caught) (throw $oops (i32.const 5)))
                    (unreachable))
                (local.set $exception)
                (if (local.get $count)
                    (then (call $hoard (i32.sub (local.get $count) (i32.const 1)))))
                (if (ref.is_null (local.get $exception)) (then (unreachable))))
            (func $dispatch (param $call i32) (param $at i32) (result i32) {calls} (unreachable))
            (func (export "turn") (param $start i32) (param $len i32) (result i32)
                (local $at i32) (local $next i32) (local $times i32) (local $last i32)
                (local $a i32) (local $b i32) (local $c i32)
                (local.set $next (i32.add (local.get $start) (i32.load (local.get $start))))
                (loop $next
                    (local.set $at (local.get $next))
                    (if (i32.gt_u (local.get $times) (i32.const 1))
                        (then (local.set $times (i32.sub (local.get $times) (i32.const 1))))
                        (else
                            (local.set $times (i32.const 0))
                            (local.set $next (i32.add (local.get $at) (i32.const 80)))))
                    (local.set $a (i32.load offset=8 (local.get $at)))
                    (local.set $b (i32.load offset=16 (local.get $at)))
                    (local.set $c (i32.load offset=24 (local.get $at)))
                    {instructions}
                    (unreachable))
                (unreachable)))"#,
        data_at = DATA.0,
        data = DATA.1,
        faults = switch("(local.get $fault)", &faults),
        calls = switch("(local.get $call)", &calls),
        instructions = switch("(i32.load (local.get $at))", &instructions),
    )
}

/// Returns code that runs one of the bodies, by the number `choice`. Each body has to branch or
/// return; otherwise the next one runs, too.
fn switch(choice: &str, bodies: &[String]) -> String {
    let labels: Vec<String> = (0..=bodies.len()).map(|index| format!("$case{index}")).collect();
    let mut text = format!("(block {} (br_table {} {choice}))", labels[0], labels.join(" "));
    for (index, body) in bodies.iter().enumerate() {
        text = format!("(block {} {text} {body})", labels[index + 1]);
    }
    text
}

/// An engine and a template of the guest.
pub struct TestBed {
    pub ticking: Arc<TickingEngine>,
    pub template: Template,
}

impl TestBed {
    pub fn new(fuel: Option<u64>) -> Self {
        let wasm = wat::parse_str(text()).unwrap();
        let stripped = strip::strip(&wasm).unwrap();
        let ticking = TickingEngine::start(&engine::config(fuel.is_some())).unwrap();
        let module = Module::new(&ticking.engine, &stripped.wasm).unwrap();
        let instances = imports::linker(&ticking.engine).unwrap().instantiate_pre(&module).unwrap();
        let image = image(&stripped.memory, BYTES, stripped.globals, files());
        Self { ticking, template: Template::new(Guest { instances, fuel }, Arc::new(image), 2) }
    }

    pub async fn slot(&self) -> Slot {
        let mut slot = self.template.acquire().await.unwrap();
        let host = slot.store.data_mut();
        host.memory_limit = 2 * BYTES;
        host.fs.set_quota(QUOTA);
        slot
    }

    /// Runs a program with a wall limit.
    pub async fn run(&self, slot: &mut Slot, program: &Program, wall: Duration) -> TurnEnd {
        let bounds = TurnBounds { wall, cpu: None, cancel: Default::default() };
        self.run_within(slot, program, &bounds).await
    }

    pub async fn run_within(
        &self,
        slot: &mut Slot,
        program: &Program,
        bounds: &TurnBounds,
    ) -> TurnEnd {
        self.run_calling(slot, program, bounds, None).await
    }

    /// Runs a program that may call functions of the host.
    pub async fn run_calling(
        &self,
        slot: &mut Slot,
        program: &Program,
        bounds: &TurnBounds,
        tools: Option<Arc<dyn HostTools>>,
    ) -> TurnEnd {
        let (stdout, stderr) = (Capture::new(OUTPUT), Capture::new(OUTPUT));
        let calls = tools.map(|tools| Arc::new(HostCalls::new(Some(tools))));
        slot.store.data_mut().turn = TurnState { stdout, stderr, calls, ..TurnState::default() };
        let _running = self.ticking.begin_turn();
        turn::run(slot, &program.source(), bounds, self.template.guest.fuel).await.unwrap()
    }

    /// Releases the slot, and asserts that the next slot equals the image. Returns true if it is
    /// the same one.
    pub async fn is_reused(&self, slot: Slot) -> bool {
        self.template.release(slot);
        let mut next = self.slot().await;
        assert!(next.bytes() == self.template.image.bytes(), "the slot differs from its image");
        assert!(next.is_at_rest());
        let is_reused = next.was_used;
        self.template.release(next);
        is_reused
    }
}

pub const QUOTA: Quota = Quota { bytes: 4 * 1024 * 1024, files: 100 };
/// The output limit in bytes.
pub const OUTPUT: u64 = 1024 * 1024;

fn files() -> Fs {
    let mut fs = Fs::new();
    fs.make_directories(WORKSPACE).unwrap();
    fs.make_directories("/tmp").unwrap();
    fs.put_file("/tmp/file", Arc::new(b"of the image".to_vec())).unwrap();
    fs.make_directories("/directory").unwrap();
    fs.make_link("/link", "tmp/file").unwrap();
    fs.put_device("/zero", crate::fs::Device::Zero).unwrap();
    fs.put_device("/control", crate::fs::Device::Control).unwrap();
    fs
}

/// Returns an image of this memory, extended to `bytes`.
pub fn image(memory: &[u8], bytes: u64, globals: Vec<RestGlobal>, fs: Fs) -> MemoryImage {
    let mut file = tempfile::tempfile().unwrap();
    crate::memory::write_sparse(&mut file, memory).unwrap();
    file.set_len(bytes).unwrap();
    file.rewind().unwrap();
    MemoryImage::new(file, bytes as usize, globals.into(), fs).unwrap()
}
