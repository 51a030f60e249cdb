//! Modules that can be guests, and a stripped guest that behaves like the whole one.

use wasmtime::{Engine, Instance, Module, Store, Val};

use super::{StripError, Stripped, strip};
use crate::{engine, memory::WASM_PAGE};

fn stripped(text: &str) -> Result<Stripped, StripError> {
    strip(&wat::parse_str(text).unwrap())
}

#[test]
fn modules_with_other_state_are_refused() {
    let memory = r#"(memory (export "memory") 1)"#;
    let state = |what: &'static str| Some(what);
    let refused = [
        (
            format!("{memory} (table 2 funcref) (func (table.set (i32.const 0) (ref.null func)))"),
            state("writes to a table"),
        ),
        (
            format!(
                "{memory} (table 2 funcref) \
                 (func (drop (table.grow (ref.null func) (i32.const 1))))"
            ),
            state("writes to a table"),
        ),
        (
            format!(
                "{memory} (table 2 funcref) \
                 (func (table.fill (i32.const 0) (ref.null func) (i32.const 1)))"
            ),
            state("writes to a table"),
        ),
        (
            format!(
                "{memory} (table 2 funcref) \
                 (func (table.copy (i32.const 0) (i32.const 1) (i32.const 1)))"
            ),
            state("writes to a table"),
        ),
        (format!("{memory} (table 2 funcref) (elem func $f) (func $f)"), state("passive element")),
        (format!("{memory} (data \"content\")"), state("passive data")),
        (format!("{memory} (func $f) (start $f)"), state("runs code")),
        (format!("{memory} (global (mut i64) (i64.const 1))"), state("a global")),
        (format!("{memory} (global (mut f32) (f32.const 1))"), state("a global")),
        (format!("{memory} (global (mut funcref) (ref.null func))"), state("a global")),
        (
            format!("{memory} (global (mut i32) (i32.add (i32.const 1) (i32.const 2)))"),
            state("a global"),
        ),
        (
            format!("{memory} (global $g i32 (i32.const 8)) (data (global.get $g) \"x\")"),
            state("the place"),
        ),
        (
            format!("{memory} (data (i32.add (i32.const 8) (i32.const 8)) \"x\")"),
            state("the place"),
        ),
        ("(import \"env\" \"memory\" (memory 1))".to_owned(), state("not a function")),
        (
            "(import \"env\" \"table\" (table 1 funcref)) (memory 1)".to_owned(),
            state("not a function"),
        ),
        ("(import \"env\" \"global\" (global i32)) (memory 1)".to_owned(), state("not a function")),
        ("(import \"env\" \"tag\" (tag)) (memory 1)".to_owned(), state("not a function")),
        ("(memory i64 1)".to_owned(), state("64-bit")),
        ("(memory 1 2 shared)".to_owned(), state("shared")),
        ("(memory 1) (memory 1)".to_owned(), state("exactly one memory")),
        (String::new(), state("exactly one memory")),
        (format!("{memory} (data (i32.const 65536) \"x\")"), None),
        (format!("{memory} (data (i32.const 65535) \"xy\")"), None),
        (format!("{memory} (data (i32.const -1) \"x\")"), None),
        ("(memory 0) (data (i32.const 0) \"x\")".to_owned(), None),
    ];
    for (text, expected) in refused {
        match (stripped(&format!("(module {text})")), expected) {
            (Err(StripError::State(why)), Some(expected)) => {
                assert!(why.contains(expected), "{text}: {why}")
            }
            (Err(StripError::Outside), None) => {}
            (Err(error), _) => panic!("{text}: {error}"),
            (Ok(_), _) => panic!("{text} was accepted"),
        }
    }
}

#[test]
fn what_is_not_a_module_is_refused() {
    let whole = wat::parse_str(crate::memory::tests::guest::text()).unwrap();
    for bytes in [&b""[..], b"\0asm", b"not a module", &[0; 1000], b"\0asm\x0d\0\x01\0"] {
        assert!(strip(bytes).is_err());
    }
    // A module that is cut anywhere, or with any byte changed, is an error or another module, but
    // causes no panic and no unbounded allocation.
    let taken = (0..whole.len()).filter(|len| strip(&whole[..*len]).is_ok());
    // A module that is cut between two sections can be a module, too.
    assert!(taken.count() < 10);
    for at in 0..whole.len() {
        for change in [1, 0x80, 0xFF] {
            let mut changed = whole.clone();
            changed[at] ^= change;
            if let Ok(stripped) = strip(&changed) {
                assert!(stripped.memory.len() as u64 <= 1 << 32);
            }
        }
    }
}

/// A module that reads and changes its state in every way that is allowed.
const MODULE: &str = r#"(module
    (memory (export "memory") 2 3)
    (table 3 funcref)
    (elem (i32.const 1) $one $two)
    (elem declare func $one)
    (global $counter (export "counter") (mut i32) (i32.const 41))
    (global $constant i32 (i32.const 1))
    (global $hidden (mut i32) (i32.const -7))
    (data (i32.const 8) "first")
    (data (i32.const 10) "over")
    (data $empty "")
    (data (i32.const 131070) "\01\02")
    (func $one (result i32) (i32.const 1))
    (func $two (result i32) (i32.const 2))
    (func (export "byte") (param i32) (result i32) (i32.load8_u (local.get 0)))
    (func (export "count") (param i32) (result i32)
        (global.set $counter (i32.add (global.get $counter) (global.get $constant)))
        (global.set $hidden (i32.add (global.get $hidden) (global.get $counter)))
        (global.get $hidden))
    (func (export "call") (param i32) (result i32) (call_indirect (result i32) (local.get 0)))
    (func (export "init") (param i32) (result i32)
        (data.drop $empty)
        (memory.init $empty (i32.const 0) (i32.const 0) (i32.const 0))
        (i32.const 0))
    (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
    (func (export "store") (param i32) (result i32)
        (i32.store8 (local.get 0) (i32.const 99))
        (i32.const 0)))"#;

#[test]
fn a_stripped_module_on_its_memory_behaves_as_before() {
    let whole = wat::parse_str(MODULE).unwrap();
    let stripped = strip(&whole).unwrap();
    assert_eq!(stripped.functions, 8);
    assert_eq!(stripped.memory.len() as u64, 2 * WASM_PAGE);
    let globals: Vec<(&str, i32)> =
        stripped.globals.iter().map(|rest| (&*rest.export, rest.value)).collect();
    assert_eq!(globals, [("cellblock:global:0", 41), ("cellblock:global:2", -7)]);

    let engine = Engine::new(&engine::config(false)).unwrap();
    let mut outcomes = Vec::new();
    for (wasm, memory) in [(&whole, None), (&stripped.wasm, Some(&stripped.memory))] {
        let module = Module::new(&engine, wasm).unwrap();
        let mut store = Store::new(&engine, ());
        store.set_epoch_deadline(1 << 40);
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        let own = instance.get_memory(&mut store, "memory").unwrap();
        if let Some(memory) = memory {
            assert!(
                own.data(&store).iter().all(|byte| *byte == 0),
                "the stripped module brings data"
            );
            own.data_mut(&mut store)[..memory.len()].copy_from_slice(memory);
        }
        let mut outcome = Vec::new();
        let calls = [
            ("byte", 8),
            ("byte", 9),
            ("byte", 10),
            ("byte", 14),
            ("byte", 131_071),
            ("byte", 131_072),
            ("count", 0),
            ("count", 0),
            ("call", 0),
            ("call", 1),
            ("call", 2),
            ("call", 3),
            ("init", 0),
            ("store", 8),
            ("byte", 8),
            ("grow", 1),
            ("grow", 1),
            ("byte", 131_072),
        ];
        for (name, argument) in calls {
            let call = instance.get_typed_func::<i32, i32>(&mut store, name).unwrap();
            outcome.push(
                call.call(&mut store, argument)
                    .map_err(|error| *error.downcast_ref::<wasmtime::Trap>().unwrap()),
            );
        }
        let counter = instance.get_global(&mut store, "counter").unwrap().get(&mut store);
        assert!(matches!(counter, Val::I32(43)));
        outcomes.push((outcome, own.data(&store).to_vec()));
    }
    assert_eq!(outcomes[0].0, outcomes[1].0);
    assert!(outcomes[0].1 == outcomes[1].1, "their memories differ");
    assert!(
        outcomes[0].0.iter().filter(|outcome| outcome.is_err()).count() == 3,
        "{:?}",
        outcomes[0].0
    );
}

#[test]
fn stripping_twice_changes_nothing_more() {
    let once = stripped(MODULE).unwrap();
    // The exported globals would get the same names again, so only a module without any can be
    // stripped twice.
    let without = MODULE
        .replace("(mut i32)", "i32")
        .replace("global.set $counter", "drop")
        .replace("global.set $hidden", "drop");
    let first = strip(&wat::parse_str(&without).unwrap()).unwrap();
    let second = strip(&first.wasm).unwrap();
    assert!(first.wasm == second.wasm && second.memory.is_empty() && second.globals.is_empty());
    assert!(once.wasm.len() < wat::parse_str(MODULE).unwrap().len() + 100);
}
