//! Approval: the rule that decides whether code or a tool may run.

use std::{fmt, io, sync::Arc};

use cellblock_answer::CodeBlock;

use crate::human::{Decision, Human, Proposal};

/// The one who has to agree before code runs, packages with the policy `ask` are installed, or a
/// tool that needs approval is called.
#[derive(Clone, Default)]
pub enum Approval {
    /// Code runs without approval. Packages whose policy says to ask, and tools that [need
    /// approval](crate::Tool::needs_approval), still need the agreement of the person behind the
    /// agent; if nobody is present, they are refused.
    #[default]
    Never,
    /// The person behind the agent is asked each time.
    Always,
    /// A function decides.
    Policy(ApprovalPolicy),
    /// This person is asked each time.
    Human(Arc<dyn Human>),
}

/// Decides about a proposal; `None` asks the person behind the agent.
pub type ApprovalPolicy = Arc<dyn Fn(&Proposal) -> Option<Decision> + Send + Sync>;

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

/// The answer to a proposal.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// It runs.
    Approved,
    /// These blocks run instead.
    Edited(Vec<CodeBlock>),
    /// It does not run.
    Refused {
        /// The reason; may be empty.
        why: String,
    },
    /// It does not run, and this is the answer.
    Corrected {
        /// The answer.
        text: String,
    },
}

impl Approval {
    /// Asks the one who has to agree. `behind` is the person behind the agent.
    ///
    /// # Errors
    /// If the person cannot be asked. Then there is no agreement.
    pub(crate) async fn ask(&self, proposal: &Proposal, behind: &dyn Human) -> io::Result<Verdict> {
        let person = match self {
            Approval::Never if matches!(proposal, Proposal::Code { .. }) => {
                return Ok(Verdict::Approved);
            }
            // Packages and tools only come here if somebody has to be asked.
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
            Decision::Approve => Verdict::Approved,
            Decision::Edit { blocks } => Verdict::Edited(blocks),
            Decision::Skip { why } => Verdict::Refused { why },
            Decision::Correct { text } => Verdict::Corrected { text },
        }
    }
}
