//! Who has to agree before code or a tool runs.

use std::{fmt, io, sync::Arc};

use cellblock_answer::CodeBlock;

use crate::human::{Decision, Human, Proposal};

/// Who has to agree before code runs, packages that must be asked for are installed, or a tool that needs it is called.
#[derive(Clone, Default)]
pub enum Approval {
    /// Nobody is asked about code: it runs. Packages that their policy asks about, and tools that
    /// [need approval](crate::Tool::needs_approval), are asked about none the less: the person behind the agent, and where
    /// nobody is there, they are refused.
    #[default]
    Never,
    /// The person behind the agent is asked each time.
    Always,
    /// A function decides.
    Policy(Policy),
    /// This person is asked each time.
    Human(Arc<dyn Human>),
}

/// Decides on a proposal; `None` asks the person behind the agent.
pub type Policy = Arc<dyn Fn(&Proposal) -> Option<Decision> + Send + Sync>;

impl fmt::Debug for Approval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Approval::Never => "Never",
            Approval::Always => "Always",
            Approval::Policy(_) => "Policy",
            Approval::Human(_) => "Human",
        })
    }
}

/// What came of asking.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// It runs.
    Go,
    /// These blocks run in its place.
    Edited(Vec<CodeBlock>),
    /// It does not run.
    Refused {
        /// Why; may be empty.
        why: String,
    },
    /// It does not run; this is the answer.
    Corrected {
        /// The answer.
        text: String,
    },
}

impl Approval {
    /// Asks whoever has to be asked.
    ///
    /// # Errors
    /// When the person cannot be asked, who then has not agreed.
    pub(crate) async fn ask(&self, proposal: &Proposal, behind: &dyn Human) -> io::Result<Verdict> {
        let person = match self {
            Approval::Never if matches!(proposal, Proposal::Code { .. }) => return Ok(Verdict::Go),
            // Packages and tools come here only when they say themselves that somebody has to be asked.
            Approval::Never | Approval::Always => behind,
            Approval::Policy(policy) => match policy(proposal) {
                Some(decision) => return Ok(decision.into()),
                None => behind,
            },
            Approval::Human(person) => person.as_ref(),
        };
        person.approve(proposal).await.map(Verdict::from)
    }
}

impl From<Decision> for Verdict {
    fn from(decision: Decision) -> Self {
        match decision {
            Decision::Approve => Verdict::Go,
            Decision::Edit { blocks } => Verdict::Edited(blocks),
            Decision::Skip { why } => Verdict::Refused { why },
            Decision::Correct { text } => Verdict::Corrected { text },
        }
    }
}
