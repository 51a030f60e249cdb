//! People in the loop: the occasions of questions, and the meaning of answers.

use std::sync::Arc;

use async_trait::async_trait;
use cellblock_agents::{
    Agent, Approval, ChannelHuman, Chat, CodeExecution, Decision, Event, Human, HumanInputMode,
    HumanRequest, Proposal, Question, ScriptedHuman, StopReason,
};
use cellblock_answer::{CodeBlock, packages::InstallMode};
use cellblock_exec::Language;

use crate::{
    cast::{last, python, recites, runs, says, script, texts},
    fake::Fake,
};

fn person(mode: HumanInputMode, answers: &[&str], agent: Agent) -> Agent {
    Agent {
        human: Arc::new(ScriptedHuman::new(answers.iter().copied())),
        human_input: mode,
        ..agent
    }
}

#[tokio::test]
async fn never_asks_nobody() {
    let b = person(HumanInputMode::Never, &["not said"], says("b", "rb"));
    let chat = Chat { max_turns: Some(2), ..Chat::between(says("a", "ra"), b) };
    let result = chat.run("hi").await.unwrap();
    assert_eq!(texts(&result), ["hi", "rb", "ra", "rb"]);
    assert!(result.human_input.is_empty());
}

#[tokio::test]
async fn terminate_asks_at_the_end_only() {
    let a = || recites("a", ["one", "TERMINATE", "two", "TERMINATE"]);
    // With an answer the chat continues; an empty one ends it.
    let b = person(HumanInputMode::Terminate, &["wait, go on", ""], says("b", "rb"));
    let result = Chat::between(a(), b).run("hi").await.unwrap();
    assert_eq!(
        texts(&result),
        ["hi", "rb", "one", "rb", "TERMINATE", "wait, go on", "two", "rb", "TERMINATE"]
    );
    assert_eq!(result.stop, StopReason::Termination { agent: "b".to_owned() });
    assert_eq!(result.human_input, ["wait, go on"]);
    // `exit` ends the chat as the person's wish; so does nobody.
    let b = person(HumanInputMode::Terminate, &["exit"], says("b", "rb"));
    let result = Chat::between(a(), b).run("hi").await.unwrap();
    assert_eq!(result.stop, StopReason::Human { agent: "b".to_owned() });
}

#[tokio::test]
async fn terminate_asks_at_the_limit_of_automatic_replies() {
    let limited = |answers: &[&str]| {
        let b = person(HumanInputMode::Terminate, answers, says("b", "rb"));
        Chat::between(says("a", "ra"), Agent { max_consecutive_auto_replies: 2, ..b })
    };
    // The person lets it continue, then speaks, then ends it.
    let result = limited(&["", "my words", "exit"]).run("hi").await.unwrap();
    let said: Vec<_> = texts(&result).into_iter().skip(1).step_by(2).collect();
    assert_eq!(said, ["rb", "rb", "rb", "rb", "my words", "rb", "rb"]);
    assert_eq!(result.human_input, ["my words", "exit"]);
    let result = limited(&["exit"]).run("hi").await.unwrap();
    assert_eq!(texts(&result), ["hi", "rb", "ra", "rb", "ra"]);
}

#[tokio::test]
async fn who_never_answers_by_itself_ends_at_an_empty_answer() {
    let b = person(HumanInputMode::Always, &["words", ""], says("b", "not said"));
    let result = Chat::between(says("a", "ra"), Agent { max_consecutive_auto_replies: 0, ..b })
        .run("hi")
        .await
        .unwrap();
    assert_eq!(texts(&result), ["hi", "words", "ra"]);
    assert_eq!(result.stop, StopReason::MaxAutoReplies { agent: "b".to_owned() });
}

#[tokio::test]
async fn always_with_an_empty_answer_at_the_end_ends() {
    let b = person(HumanInputMode::Always, &["", ""], says("b", "rb"));
    let result = Chat::between(recites("a", ["TERMINATE"]), b).run("hi").await.unwrap();
    assert_eq!(texts(&result), ["hi", "rb", "TERMINATE"]);
    assert_eq!(result.stop, StopReason::Termination { agent: "b".to_owned() });
}

/// A person that records the questions.
#[derive(Debug, Default)]
struct Curious(std::sync::Mutex<Vec<Question>>);

#[async_trait]
impl Human for Curious {
    async fn reply(&self, question: &Question) -> std::io::Result<String> {
        self.0.lock().unwrap().push(question.clone());
        Ok(String::new())
    }

    async fn approve(&self, _: &Proposal) -> std::io::Result<Decision> {
        Ok(Decision::Approve)
    }
}

#[tokio::test]
async fn a_question_says_what_an_empty_answer_means() {
    let human = Arc::new(Curious::default());
    let b = Agent { human: human.clone(), human_input: HumanInputMode::Always, ..says("b", "rb") };
    Chat::between(recites("a", ["TERMINATE"]), b).run("hi").await.unwrap();
    let asked = human.0.lock().unwrap();
    let seen: Vec<_> = asked
        .iter()
        .map(|question| (question.message.text().into_owned(), question.empty_ends))
        .collect();
    assert_eq!(seen, [("hi".to_owned(), false), ("TERMINATE".to_owned(), true)]);
    assert_eq!((asked[0].agent.as_str(), asked[0].peer.as_str()), ("b", "a"));
}

/// Runs a chat whose code needs approval; returns the answer of the agent that runs code.
async fn decided(
    approval: Approval,
    decisions: Vec<Decision>,
) -> (String, Vec<String>, Vec<String>) {
    let fake = Fake::default();
    let code = Some(CodeExecution { approval, ..CodeExecution::new(Arc::new(fake.clone())) });
    let human = Arc::new(ScriptedHuman::new::<&str>([]).deciding(decisions));
    let user = Agent { code, human, human_input: HumanInputMode::Never, ..Agent::new("user") };
    let chat = Chat { max_turns: Some(1), ..Chat::between(says("assistant", ""), user) };
    let result = chat.run(python("print proposed")).await.unwrap();
    (last(&result), fake.ran(), result.human_input)
}

#[tokio::test]
async fn code_is_approved_edited_skipped_or_corrected() {
    let ran = (
        "exitcode: 0 (execution succeeded)\nCode output: proposed\n".to_owned(),
        vec!["print proposed\n".to_owned()],
        vec![],
    );
    assert_eq!(decided(Approval::Never, vec![]).await, ran);
    assert_eq!(decided(Approval::Always, vec![Decision::Approve]).await, ran);
    let edited = CodeBlock {
        language: Some(Language::PYTHON),
        code: "print edited\n".to_owned(),
        ..CodeBlock::default()
    };
    let (answer, ran, _) =
        decided(Approval::Always, vec![Decision::Edit { blocks: vec![edited] }]).await;
    // The author of the code sees what ran, in a form that nobody takes for code to run.
    assert_eq!(
        answer,
        "exitcode: 0 (execution succeeded)\nCode output: edited\n\n\
         note: the person ran this in place of your code:\n| print edited"
    );
    assert!(cellblock_answer::code_blocks(&answer).is_empty());
    assert_eq!(ran, ["print edited\n"]);
    let (answer, ran, _) =
        decided(Approval::Always, vec![Decision::Skip { why: "too slow".to_owned() }]).await;
    assert_eq!((answer.as_str(), ran.len()), ("The code was not run: too slow", 0));
    let (answer, ran, _) =
        decided(Approval::Always, vec![Decision::Skip { why: String::new() }]).await;
    assert_eq!((answer.as_str(), ran.len()), ("The code was not run: it was not approved", 0));
    let correction = "No, please plot % change!";
    let (answer, ran, heard) =
        decided(Approval::Always, vec![Decision::Correct { text: correction.to_owned() }]).await;
    assert_eq!((answer.as_str(), ran.len(), heard), (correction, 0, vec![correction.to_owned()]));
    // Nobody is present: nothing runs.
    let (answer, ran, _) =
        decided(Approval::Human(Arc::new(cellblock_agents::Nobody)), vec![Decision::Approve]).await;
    assert!(answer.contains("no person is available") && ran.is_empty(), "{answer}");
}

#[tokio::test]
async fn a_policy_decides_or_asks() {
    let policy = Approval::Policy(Arc::new(|proposal: &Proposal| match proposal {
        Proposal::Code { blocks, .. } if blocks[0].code.contains("proposed") => None,
        _ => Some(Decision::Approve),
    }));
    assert_eq!(decided(policy.clone(), vec![Decision::Approve]).await.1.len(), 1);
    assert_eq!(decided(policy, vec![]).await.1.len(), 0);
}

#[tokio::test]
async fn code_that_was_not_approved_is_not_proposed_again() {
    let fake = Fake::default();
    let code = Some(CodeExecution {
        approval: Approval::Always,
        ..CodeExecution::new(Arc::new(fake.clone()))
    });
    let decisions = [Decision::Skip { why: "no".to_owned() }, Decision::Approve];
    let human = Arc::new(ScriptedHuman::new::<&str>([]).deciding(decisions));
    let user =
        Agent { code, human, human_input: HumanInputMode::Never, ..says("user", "nothing new") };
    let chat =
        Chat { max_turns: Some(2), ..Chat::between(recites("assistant", ["no code here"]), user) };
    let result = chat.run(python("print x")).await.unwrap();
    assert_eq!(last(&result), "nothing new");
    assert!(fake.ran().is_empty());
}

/// Packages for which the policy asks.
#[tokio::test]
async fn packages_are_asked_for() {
    async fn installed(approval: Approval, decision: Vec<Decision>) -> (Vec<String>, String) {
        let fake = Fake::default();
        let mut code = CodeExecution { approval, ..CodeExecution::new(Arc::new(fake.clone())) };
        code.install.mode = InstallMode::Ask;
        let human = Arc::new(ScriptedHuman::new::<&str>([]).deciding(decision));
        let user = Agent {
            code: Some(code),
            human,
            human_input: HumanInputMode::Never,
            ..Agent::new("user")
        };
        let chat = Chat { max_turns: Some(1), ..Chat::between(says("a", ""), user) };
        (fake.installed(), last(&chat.run(python("import humanize\nprint ok")).await.unwrap()))
    }
    let only_packages = || {
        Approval::Policy(Arc::new(|proposal: &Proposal| match proposal {
            Proposal::Packages { packages, .. } => {
                assert_eq!(packages, &["humanize"]);
                None
            }
            _ => Some(Decision::Approve),
        }))
    };
    let (_, answer) = installed(only_packages(), vec![Decision::Approve]).await;
    assert!(answer.starts_with("exitcode: 0"), "{answer}");
    // The person's reason reaches the model.
    for (decision, words) in [
        (
            Decision::Correct { text: "use the standard library".to_owned() },
            Some("use the standard library"),
        ),
        (Decision::Skip { why: "too large".to_owned() }, Some("too large")),
        (Decision::Skip { why: String::new() }, None),
    ] {
        let (installed, answer) = installed(only_packages(), vec![decision]).await;
        assert!(installed.is_empty() && answer.starts_with("exitcode: 1"), "{answer}");
        let note = "note: humanize was not installed: ";
        match words {
            Some(words) => assert!(answer.contains(&format!("{note}{words}")), "{answer}"),
            None => assert!(!answer.contains(note), "{answer}"),
        }
    }
    let (_, answer) = installed(only_packages(), vec![]).await;
    assert!(answer.starts_with("exitcode: 1") && answer.contains("humanize"), "{answer}");
    // Code without approval does not mean packages without approval.
    let (_, answer) = installed(Approval::Never, vec![Decision::Approve]).await;
    assert!(answer.starts_with("exitcode: 0"), "{answer}");
    let (_, answer) = installed(Approval::Never, vec![]).await;
    assert!(answer.starts_with("exitcode: 1") && answer.contains("humanize"), "{answer}");
}

#[tokio::test]
async fn a_person_at_the_end_of_a_channel() {
    let (human, mut questions) = ChannelHuman::new();
    let fake = Fake::default();
    let code = Some(CodeExecution {
        approval: Approval::Always,
        ..CodeExecution::new(Arc::new(fake.clone()))
    });
    let user = Agent { code, human, human_input: HumanInputMode::Always, ..Agent::new("user") };
    let assistant = recites("assistant", ["fine"]);
    let running = tokio::spawn(async move {
        Chat::between(assistant, user).run(python("print x")).await.unwrap()
    });
    let Some(HumanRequest::Reply(question, answer)) = questions.recv().await else { panic!() };
    assert!(question.message.text().contains("print x"));
    answer.send(String::new()).unwrap();
    let Some(HumanRequest::Approve(Proposal::Code { blocks, .. }, answer)) = questions.recv().await
    else {
        panic!()
    };
    assert_eq!(blocks[0].code, "print x\n");
    answer.send(Decision::Approve).unwrap();
    let Some(HumanRequest::Reply(_, answer)) = questions.recv().await else { panic!() };
    answer.send("exit".to_owned()).unwrap();
    let result = running.await.unwrap();
    assert_eq!(
        (fake.ran().len(), &result.stop),
        (1, &StopReason::Human { agent: "user".to_owned() })
    );
}

#[tokio::test]
async fn a_person_who_is_gone_ends_the_chat() {
    // The whole channel is dropped, or only the question.
    for drop_all in [true, false] {
        let (human, mut questions) = ChannelHuman::new();
        let user = Agent { human, human_input: HumanInputMode::Always, ..Agent::new("user") };
        let running =
            tokio::spawn(
                async move { Chat::between(says("a", "ra"), user).run("hi").await.unwrap() },
            );
        if drop_all {
            drop(questions);
        } else {
            drop(questions.recv().await);
        }
        let result = running.await.unwrap();
        let StopReason::Failed { message, causes, .. } = &result.stop else {
            panic!("{}", result.stop)
        };
        assert_eq!(message, "the person behind `user` cannot be asked");
        assert!(causes[0].contains("the other end of the channel is closed"), "{causes:?}");
        assert_eq!(texts(&result), ["hi"]);
    }
}

#[tokio::test]
async fn code_does_not_run_when_the_person_is_gone() {
    let (human, questions) = ChannelHuman::new();
    drop(questions);
    let fake = Fake::default();
    let code = Some(CodeExecution {
        approval: Approval::Always,
        ..CodeExecution::new(Arc::new(fake.clone()))
    });
    let user = Agent { code, human, human_input: HumanInputMode::Never, ..Agent::new("user") };
    let result = Chat::between(says("a", ""), user).run(python("print x")).await.unwrap();
    let StopReason::Failed { message, .. } = &result.stop else { panic!("{}", result.stop) };
    assert!(message.contains("behind `user`"), "{}", result.stop);
    assert!(fake.ran().is_empty());
}

#[tokio::test]
async fn a_question_can_be_withdrawn() {
    let (human, mut questions) = ChannelHuman::new();
    let user = Agent { human, human_input: HumanInputMode::Always, ..Agent::new("user") };
    let chat = Chat::between(says("a", "ra"), user);
    let cancel = chat.cancel.clone();
    let running = tokio::spawn(async move { chat.run("hi").await.unwrap() });
    let Some(HumanRequest::Reply(_, answer)) = questions.recv().await else { panic!() };
    cancel.cancel();
    assert_eq!(running.await.unwrap().stop, StopReason::Cancelled);
    assert!(answer.is_closed());
}

#[tokio::test]
async fn what_people_say_is_told_as_events() {
    let (events, mut heard) = cellblock_agents::event::channel();
    let b = person(HumanInputMode::Always, &["", "hello", "exit"], says("b", "rb"));
    Chat { events: Some(events), ..Chat::between(says("a", "ra"), b) }.run("hi").await.unwrap();
    let mut said = Vec::new();
    while let Ok(event) = heard.try_recv() {
        if let Event::HumanAnswered { text, .. } = event {
            said.push(text);
        }
    }
    assert_eq!(said, [None, Some("hello".to_owned())]);
}

/// A person sees the chart and asks for another one.
#[tokio::test]
async fn a_person_corrects_the_assistant() {
    let fake = Fake::default();
    let human = Arc::new(ScriptedHuman::new(["", "No, please plot % change!", "", "exit"]));
    let user = Agent { human, human_input: HumanInputMode::Always, ..runs("user", fake.clone()) };
    let answers =
        [python("picture price.png"), "Here.".into(), python("picture change.png"), "Done.".into()];
    let model = script(answers);
    let assistant = Agent::assistant("assistant", model.clone());
    let result = Chat::between(user, assistant).run("Plot a chart.").await.unwrap();
    let said = texts(&result);
    assert_eq!(said[2], "exitcode: 0 (execution succeeded)\nCode output: \nfiles: price.png");
    assert_eq!(said[4], "No, please plot % change!");
    assert_eq!(said[6], "exitcode: 0 (execution succeeded)\nCode output: \nfiles: change.png");
    assert_eq!(result.human_input, ["No, please plot % change!", "exit"]);
    assert_eq!((fake.ran().len(), said.len()), (2, 8));
}
