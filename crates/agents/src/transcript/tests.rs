//! The transcript of events, compared with AutoGen's console.

use super::Transcript;
use crate::{
    event::Event,
    message::{Content, Image, Message, Part, ToolCall, ToolResult},
    record::StopReason,
};

fn said(chat: &str, name: &str, to: &str, content: impl Into<Content>) -> Event {
    let message = Message::new(name, content);
    Event::Message { chat: chat.into(), depth: 0, to: to.into(), message, streamed: false }
}

fn text(chat: &str, from: &str, text: &str) -> Event {
    Event::Text {
        chat: chat.into(),
        depth: 0,
        from: from.into(),
        to: "user".into(),
        text: text.into(),
    }
}

fn begins(chat: &str, parent: Option<&str>, agents: &[&str]) -> Event {
    let agents = agents.iter().map(|name| (*name).to_owned()).collect();
    Event::ChatStarted { chat: chat.into(), parent: parent.map(Into::into), agents }
}

fn stops(chat: &str, reason: StopReason) -> Event {
    Event::ChatStopped { chat: chat.into(), depth: 0, reason }
}

fn block(chat: &str, index: usize) -> Event {
    let (language, code) = ("python".into(), "1".into());
    Event::BlockStarted {
        chat: chat.into(),
        agent: "user".into(),
        index,
        language,
        inferred: false,
        code,
    }
}

/// The transcript of events.
fn shown(events: &[Event]) -> String {
    let mut transcript = Transcript::default();
    events.iter().map(|event| transcript.push(event)).collect()
}

const RULE: &str =
    "--------------------------------------------------------------------------------";

#[test]
fn it_is_as_autogen_writes_it() {
    let events = [
        begins("id", None, &["user_proxy", "assistant"]),
        said("id", "user_proxy", "assistant", "Plot a chart."),
        said("id", "assistant", "user_proxy", "Here it is.\n\nTERMINATE"),
        block("id", 0),
        said(
            "id",
            "user_proxy",
            "assistant",
            "exitcode: 0 (execution succeeded)\nCode output: \nFigure(1000x500)\n",
        ),
        stops("id", StopReason::MaxTurns { turns: 2 }),
    ];
    let expected = format!(
        "user_proxy (to assistant):\n\nPlot a chart.\n\n{RULE}\n\
         assistant (to user_proxy):\n\nHere it is.\n\nTERMINATE\n\n{RULE}\n\n\
         >>>>>>>> EXECUTING CODE BLOCK 0 (inferred language is python)...\n\
         user_proxy (to assistant):\n\nexitcode: 0 (execution succeeded)\nCode output: \n\
         Figure(1000x500)\n\n\n{RULE}\n\n\
         >>>>>>>> TERMINATING RUN (id): Maximum turns (2) reached\n"
    );
    assert_eq!(shown(&events), expected);
}

#[test]
fn text_is_shown_while_it_arrives_and_once() {
    let mut transcript = Transcript::default();
    assert_eq!(transcript.push(&text("id", "assistant", "Hel")), "assistant (to user):\n\nHel");
    assert_eq!(transcript.push(&text("id", "assistant", "lo")), "lo");
    // Other events wait for the end of the message.
    assert_eq!(transcript.push(&Event::Notice { chat: "id".into(), text: "cut off".into() }), "");
    let rest = transcript.push(&said("id", "assistant", "user", "Hello"));
    assert_eq!(rest, format!("\n\n{RULE}\n\n>>>>>>>> NOTE: cut off\n"));
}

#[test]
fn a_text_that_is_void_or_changed_says_so() {
    let withdrawn = Event::TextWithdrawn { chat: "id".into(), from: "assistant".into() };
    let all = shown(&[
        text("id", "assistant", "Half an ans"),
        withdrawn,
        said("id", "assistant", "user", "Whole."),
    ]);
    let void = "\n\n>>>>>>>> THE ANSWER BROKE OFF. IGNORE THE TEXT ABOVE\n\n";
    let expected = format!(
        "assistant (to user):\n\nHalf an ans{void}{RULE}\n\
         assistant (to user):\n\nWhole.\n\n{RULE}\n"
    );
    assert_eq!(all, expected);

    let all =
        shown(&[text("id", "assistant", "secret"), said("id", "assistant", "user", "[removed]")]);
    assert!(
        all.contains("THE MESSAGE WAS CHANGED")
            && all.ends_with(&format!("\n\n[removed]\n\n{RULE}\n")),
        "{all}"
    );
}

#[test]
fn tools_and_images_are_named() {
    let call = ToolCall {
        id: "c1".into(),
        name: "weather".into(),
        arguments: "{\"city\":\"Oslo\"}".into(),
    };
    let result = ToolResult {
        id: "c1".into(),
        name: "weather".into(),
        content: "3 degrees".into(),
        is_error: false,
    };
    let event = |message| Event::Message {
        chat: "id".into(),
        depth: 0,
        to: "b".into(),
        message,
        streamed: false,
    };
    let all = shown(&[
        event(Message { name: "a".into(), tool_calls: vec![call], ..Message::default() }),
        event(Message { name: "b".into(), tool_results: vec![result], ..Message::default() }),
    ]);
    let (called, answered) = (
        "***** Suggested tool call (c1): weather *****",
        "***** Response from calling tool (c1) *****",
    );
    let expected = format!(
        "a (to b):\n\n{called}\nArguments: \n{{\"city\":\"Oslo\"}}\n{}\n\n{RULE}\n\
         b (to b):\n\n{answered}\n3 degrees\n{}\n\n{RULE}\n",
        "*".repeat(called.len()),
        "*".repeat(answered.len()),
    );
    assert_eq!(all, expected);

    let image =
        Image { media_type: "image/png".into(), data: std::sync::Arc::new(vec![0; 55_194]) };
    let parts = vec![Part::Text { text: "See:".into() }, Part::Image(image)];
    let all = shown(&[said("id", "a", "b", parts)]);
    assert_eq!(all, format!("a (to b):\n\nSee:\n<image image/png, 53.9 KiB>\n\n{RULE}\n"));
}

#[test]
fn a_group_and_people() {
    let all = shown(&[
        Event::SpeakerSelected { chat: "id".into(), speaker: "bob".into() },
        Event::HumanAnswered { chat: "id".into(), agent: "bob".into(), text: None },
        Event::HumanAnswered { chat: "id".into(), agent: "bob".into(), text: Some("yes".into()) },
        said("id", "bob", "chat_manager", ""),
    ]);
    let expected = format!(
        "\nNext speaker: bob\n\n>>>>>>>> USING AUTO REPLY...\n\
         bob (to chat_manager):\n\n\n\n{RULE}\n"
    );
    assert_eq!(all, expected);
}

#[test]
fn one_blank_line_sets_off_what_follows_a_choice() {
    let next = Event::SpeakerSelected { chat: "id".into(), speaker: "bob".into() };
    let shows = |event| shown(&[said("id", "ann", "chat_manager", "Run it."), next.clone(), event]);
    let head = format!("ann (to chat_manager):\n\nRun it.\n\n{RULE}\n\nNext speaker: bob\n\n");
    let code = ">>>>>>>> EXECUTING CODE BLOCK 0 (inferred language is python)...\n";
    assert_eq!(shows(block("id", 0)), format!("{head}{code}"));
    let end = ">>>>>>>> TERMINATING RUN (id): No next speaker\n";
    assert_eq!(shows(stops("id", StopReason::NoSpeaker)), format!("{head}{end}"));
    assert_eq!(
        shows(said("id", "bob", "chat_manager", "No.")),
        format!("{head}bob (to chat_manager):\n\nNo.\n\n{RULE}\n")
    );
}

#[test]
fn nested_chats_are_indented() {
    let all = shown(&[
        begins("outer", None, &["user", "director"]),
        begins("inner", Some("outer"), &["director", "coder"]),
        begins("innermost", Some("inner"), &["coder", "tester"]),
        text("innermost", "tester", "one\n\ntwo"),
        said("innermost", "tester", "coder", "one\n\ntwo"),
        stops("innermost", StopReason::NoSpeaker),
        stops("inner", StopReason::NoSpeaker),
        said("outer", "director", "user", "done"),
    ]);
    assert!(all.contains("    Starting a new chat: director, coder\n"), "{all}");
    assert!(all.contains("        tester (to user):\n\n        one\n\n        two\n"), "{all}");
    assert!(all.contains("\n    >>>>>>>> TERMINATING RUN (inner): No next speaker\n"), "{all}");
    assert!(all.ends_with(&format!("director (to user):\n\ndone\n\n{RULE}\n")), "{all}");
}

#[test]
fn one_speaks_at_a_time() {
    let all = shown(&[
        begins("outer", None, &["user", "director"]),
        begins("a", Some("outer"), &["director", "ann"]),
        begins("b", Some("outer"), &["director", "ben"]),
        text("a", "ann", "I am "),
        text("b", "ben", "And I "),
        text("a", "ann", "Ann."),
        text("b", "ben", "am Ben."),
        said("b", "ben", "director", "And I am Ben."),
        stops("b", StopReason::NoSpeaker),
        said("a", "ann", "director", "I am Ann."),
        stops("a", StopReason::NoSpeaker),
    ]);
    let place = |part: &str| all.find(part).unwrap_or_else(|| panic!("{part}: {all}"));
    assert!(place("I am Ann.") < place("And I am Ben."), "{all}");
    assert_eq!(all.matches("am Ben.").count(), 1, "{all}");
    assert!(place("And I am Ben.") < place("TERMINATING RUN (b)"), "{all}");
}

#[test]
fn a_chat_that_vanishes_holds_up_nobody() {
    let all = shown(&[
        begins("outer", None, &["user", "director"]),
        begins("a", Some("outer"), &["director", "ann"]),
        text("a", "ann", "I am "),
        begins("b", Some("outer"), &["director", "ben"]),
        said("b", "ben", "director", "I am Ben."),
        said("outer", "director", "user", "Ann took too long."),
    ]);
    for part in ["THE ANSWER BROKE OFF", "I am Ben.", "Ann took too long."] {
        assert!(all.contains(part), "{part}: {all}");
    }
}

#[test]
fn control_sequences_do_no_harm() {
    let evil = "\u{1b}]0;title\u{7}\u{1b}[31mred\r\u{202e}";
    let all = shown(&[
        text("id", "assistant", "cut \u{1b}"),
        text("id", "assistant", "[2Jhere\n"),
        said("id", "assistant", "user", "cut \u{1b}[2Jhere\n"),
        said("id", evil, evil, evil),
        Event::Notice { chat: "id".into(), text: evil.into() },
        stops("id", StopReason::Failed { message: evil.into(), causes: vec![], partial: None }),
    ]);
    assert!(all.starts_with("assistant (to user):\n\ncut here\n"), "{all:?}");
    assert!(all.chars().all(|c| c == '\n' || !c.is_control() && c != '\u{202e}'), "{all:?}");
    // The control: colours of our own are there when they are asked for.
    let mut transcript = Transcript::default().coloured(true);
    assert!(
        transcript.push(&said("id", "a", "b", "x")).starts_with("\u{1b}[33ma\u{1b}[0m (to b):")
    );
}
