//! Providers, as data: a new one is one more row.

/// A provider of models.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provider {
    /// What stands before the `/` of a model's name.
    pub name: &'static str,
    /// Its name in records and messages: OpenTelemetry's where it has one.
    pub provider: &'static str,
    /// What it speaks.
    pub kind: Kind,
    /// Where it is; empty where everybody has an address of their own.
    pub base_url: &'static str,
    /// The environment variable that may hold another address.
    pub address_variable: Option<&'static str>,
    /// The environment variable that holds the key, if it wants one.
    pub key_variable: Option<&'static str>,
    /// How the names of its models begin, where that tells them from all others'.
    pub beginnings: &'static [&'static str],
    /// The model to use for somebody who only has a key: a good one that costs little.
    pub usual_model: Option<&'static str>,
}

/// What a provider speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// OpenAI's chat completions.
    OpenAi,
    /// The same as Azure has it: deployments in the address, a version of the API, the key in a header of its own.
    Azure,
    /// Anthropic's messages.
    Anthropic,
    /// Ollama's own API.
    Ollama,
}

/// A row that others fill in.
const ROW: Provider = Provider {
    name: "",
    provider: "",
    kind: Kind::OpenAi,
    base_url: "",
    address_variable: None,
    key_variable: None,
    beginnings: &[],
    usual_model: None,
};

/// All that have a name. The first one whose key is set is the one to use if nobody names a model.
pub const PROVIDERS: &[Provider] = &[
    Provider {
        name: "openai",
        provider: "openai",
        base_url: "https://api.openai.com/v1",
        key_variable: Some("OPENAI_API_KEY"),
        beginnings: &["gpt-", "chatgpt-", "o1", "o3", "o4"],
        usual_model: Some("gpt-4o-mini"),
        ..ROW
    },
    Provider {
        name: "anthropic",
        provider: "anthropic",
        kind: Kind::Anthropic,
        base_url: "https://api.anthropic.com/v1",
        key_variable: Some("ANTHROPIC_API_KEY"),
        beginnings: &["claude-"],
        usual_model: Some("claude-haiku-4-5"),
        ..ROW
    },
    Provider {
        name: "gemini",
        provider: "gcp.gemini",
        base_url: "https://generativelanguage.googleapis.com/v1beta/openai",
        key_variable: Some("GEMINI_API_KEY"),
        beginnings: &["gemini-"],
        usual_model: Some("gemini-2.5-flash"),
        ..ROW
    },
    Provider {
        name: "mistral",
        provider: "mistral_ai",
        base_url: "https://api.mistral.ai/v1",
        key_variable: Some("MISTRAL_API_KEY"),
        beginnings: &["mistral-large", "mistral-medium", "mistral-small", "codestral-"],
        usual_model: Some("mistral-small-latest"),
        ..ROW
    },
    Provider {
        name: "deepseek",
        provider: "deepseek",
        base_url: "https://api.deepseek.com/v1",
        key_variable: Some("DEEPSEEK_API_KEY"),
        beginnings: &["deepseek-chat", "deepseek-reasoner"],
        usual_model: Some("deepseek-chat"),
        ..ROW
    },
    Provider {
        name: "xai",
        provider: "x_ai",
        base_url: "https://api.x.ai/v1",
        key_variable: Some("XAI_API_KEY"),
        beginnings: &["grok-"],
        ..ROW
    },
    Provider {
        name: "groq",
        provider: "groq",
        base_url: "https://api.groq.com/openai/v1",
        key_variable: Some("GROQ_API_KEY"),
        usual_model: Some("llama-3.3-70b-versatile"),
        ..ROW
    },
    Provider {
        name: "openrouter",
        provider: "openrouter",
        base_url: "https://openrouter.ai/api/v1",
        key_variable: Some("OPENROUTER_API_KEY"),
        usual_model: Some("openai/gpt-4o-mini"),
        ..ROW
    },
    Provider {
        name: "together",
        provider: "together",
        base_url: "https://api.together.xyz/v1",
        key_variable: Some("TOGETHER_API_KEY"),
        ..ROW
    },
    Provider {
        name: "fireworks",
        provider: "fireworks",
        base_url: "https://api.fireworks.ai/inference/v1",
        key_variable: Some("FIREWORKS_API_KEY"),
        ..ROW
    },
    Provider {
        name: "azure",
        provider: "azure.ai.openai",
        kind: Kind::Azure,
        address_variable: Some("AZURE_OPENAI_ENDPOINT"),
        key_variable: Some("AZURE_OPENAI_API_KEY"),
        ..ROW
    },
    Provider {
        name: "ollama",
        provider: "ollama",
        kind: Kind::Ollama,
        base_url: "http://127.0.0.1:11434",
        address_variable: Some("OLLAMA_HOST"),
        ..ROW
    },
    Provider {
        name: "lmstudio",
        provider: "lmstudio",
        base_url: "http://127.0.0.1:1234/v1",
        ..ROW
    },
    Provider { name: "vllm", provider: "vllm", base_url: "http://127.0.0.1:8000/v1", ..ROW },
    Provider {
        name: "llamacpp",
        provider: "llama.cpp",
        base_url: "http://127.0.0.1:8080/v1",
        ..ROW
    },
];
