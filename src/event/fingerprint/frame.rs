//! The top frame of a stack trace that is our own code: where an error is fixed, mostly.
//!
//! Python, Java (Kotlin, Scala), JavaScript (V8, Firefox, Safari), Go, Rust, Ruby, PHP and .NET traces are read. "Own" is what is
//! not known to be the language's library or an installed dependency. Line numbers are left out, as are directories above the
//! last, hashes and addresses: they change with every deploy.

/// Longest line that is read; longer ones are no frames.
const MAX_LINE: usize = 2048;

/// A frame, without what changes from deploy to deploy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    pub function: String,
    /// Directory and name: `billing/views.py`.
    pub file: String,
}

/// A frame as its line says it.
#[derive(Clone, Copy, Debug)]
struct RawFrame<'a> {
    function: &'a str,
    file: &'a str,
    /// Python writes the innermost frame last, everybody else first.
    innermost_last: bool,
}

/// Where dependencies and standard libraries lie.
const FOREIGN_FILES: [&str; 16] = [
    "/site-packages/",
    "/dist-packages/",
    "/lib/python",
    "<frozen",
    "<string>",
    "node_modules/",
    "node:",
    "/gems/",
    "/lib/ruby/",
    "<internal:",
    "/vendor/",
    "/pkg/mod/",
    "/go/src/",
    "/rustc/",
    "/.cargo/",
    "/rust/deps/",
];

/// What functions of dependencies and standard libraries begin with.
const FOREIGN_FUNCTIONS: [&str; 40] = [
    "java.",
    "javax.",
    "jdk.",
    "sun.",
    "com.sun.",
    "jakarta.",
    "kotlin.",
    "kotlinx.",
    "scala.",
    "akka.",
    "org.apache.",
    "org.springframework.",
    "org.hibernate.",
    "org.eclipse.",
    "org.postgresql.",
    "io.netty.",
    "io.undertow.",
    "reactor.",
    "com.fasterxml.",
    "com.zaxxer.",
    "System.",
    "Microsoft.",
    "runtime.",
    "runtime/",
    "net/http.",
    "std::",
    "core::",
    "alloc::",
    "<alloc::",
    "<core::",
    "<std::",
    "tokio::",
    "<tokio::",
    "futures_util::",
    "hyper::",
    "axum::",
    "tower::",
    "<tower::",
    "rust_begin_unwind",
    "__rust",
];

/// The innermost frame of our own code; the innermost of all where none is ours. `None` where the text has no frames.
#[must_use]
pub fn top(stacktrace: &str) -> Option<Frame> {
    let mut own = None;
    let mut any = None;
    let mut lines = stacktrace.lines().filter(|line| line.len() <= MAX_LINE).peekable();
    while let Some(line) = lines.next() {
        let Some(frame) = read(line, lines.peek().copied()) else { continue };
        if frame.innermost_last || any.is_none() {
            any = Some(frame);
        }
        if is_own(frame) && (frame.innermost_last || own.is_none()) {
            own = Some(frame);
        }
    }
    own.or(any).map(|frame| Frame { function: function_name(frame.function), file: file_name(frame.file) })
}

fn is_own(frame: RawFrame<'_>) -> bool {
    let file = frame.file.replace('\\', "/");
    let is_foreign_file = FOREIGN_FILES.iter().any(|part| file.contains(part))
        || ["internal/", "native", "<anonymous>", "[internal function]"].iter().any(|start| file.starts_with(start));
    // Java 9 and later say the module first: `java.base/java.lang.Thread.run`.
    let after_module = frame.function.rsplit_once('/').map_or(frame.function, |(_, function)| function);
    let is_foreign_function =
        FOREIGN_FUNCTIONS.iter().any(|start| [frame.function, after_module].iter().any(|name| name.starts_with(start)));
    !is_foreign_file && !is_foreign_function && frame.function != "panic"
}

/// Reads the frame a line begins; Go and Rust write the file on the line after.
fn read<'a>(line: &'a str, next: Option<&'a str>) -> Option<RawFrame<'a>> {
    python(line)
        .or_else(|| php(line))
        .or_else(|| at(line))
        .or_else(|| ruby(line))
        .or_else(|| firefox(line))
        .or_else(|| go_or_rust(line, next?))
}

/// `  File "/srv/app/views.py", line 5, in post`
fn python(line: &str) -> Option<RawFrame<'_>> {
    let (file, rest) = line.trim_start().strip_prefix("File \"")?.split_once('"')?;
    let function = rest.split_once(", in ").map_or("", |(_, function)| function);
    Some(RawFrame { function, file, innermost_last: true })
}

/// `#0 /var/www/app/Foo.php(12): App\Foo->bar()`
fn php(line: &str) -> Option<RawFrame<'_>> {
    let (number, rest) = line.trim_start().strip_prefix('#')?.split_once(' ')?;
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (place, function) = rest.split_once(": ")?;
    Some(outermost_last(function.split('(').next()?, before_parenthesis(place)))
}

/// `at com.foo.Bar.baz(Bar.java:12)`, `at async load (/app/x.js:1:2)`, `at /app/x.js:1:2`, `at A.B.C(String s) in C:\x\A.cs:line 5`
fn at(line: &str) -> Option<RawFrame<'_>> {
    let frame = line.trim().strip_prefix("at ")?;
    if let Some((function, place)) = frame.split_once(" in ") {
        let file = place.split_once(":line ").map_or(place, |(file, _)| file);
        return Some(outermost_last(before_parenthesis(function), file));
    }
    let Some((function, place)) = frame.strip_suffix(')').and_then(|frame| frame.rsplit_once('(')) else {
        let file = without_position(frame);
        return (file.len() < frame.len()).then(|| outermost_last("", file));
    };
    let function = function.trim();
    let function = function.strip_prefix("async ").or_else(|| function.strip_prefix("new ")).unwrap_or(function);
    Some(outermost_last(function, without_position(place)))
}

/// ``app/models/user.rb:12:in `save'``, `from app/models/user.rb:12:in 'User#save'`
fn ruby(line: &str) -> Option<RawFrame<'_>> {
    let (place, rest) = line.trim().split_once(":in ")?;
    let function = rest.trim_start_matches(['`', '\'']).split('\'').next()?;
    let file = without_position(place.strip_prefix("from ").unwrap_or(place));
    (file.len() < place.len()).then(|| outermost_last(function, file))
}

/// `load@https://app.example/x.js:1:2`
fn firefox(line: &str) -> Option<RawFrame<'_>> {
    let (function, place) = line.trim().split_once('@')?;
    let file = without_position(place);
    let is_frame = file.len() < place.len() && file.contains('/') && !function.contains(char::is_whitespace);
    is_frame.then(|| outermost_last(function, file))
}

/// Go: `main.(*Store).load(0xc0001)`, then `\t/app/store.go:12 +0x1d`. Rust: `4: app::store::load`, then `at ./src/store.rs:12:5`.
fn go_or_rust<'a>(line: &'a str, next: &'a str) -> Option<RawFrame<'a>> {
    let place = next.trim_start();
    if next.starts_with('\t') && place.contains(".go:") && line.ends_with(')') {
        let file = without_position(place.split(' ').next()?);
        return Some(outermost_last(before_parenthesis(line), file));
    }
    let (number, function) = line.trim_start().split_once(": ")?;
    let is_numbered = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let file = place.strip_prefix("at ").filter(|_| is_numbered)?;
    Some(outermost_last(function, without_position(file)))
}

fn outermost_last<'a>(function: &'a str, file: &'a str) -> RawFrame<'a> {
    RawFrame { function, file, innermost_last: false }
}

fn before_parenthesis(text: &str) -> &str {
    text.rsplit_once('(').map_or(text, |(before, _)| before)
}

/// Drops `:12` and `:12:5` from the end.
fn without_position(place: &str) -> &str {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let drop_one = |place| match str::rsplit_once(place, ':') {
        Some((file, number)) if is_number(number) => file,
        _ => place,
    };
    drop_one(drop_one(place))
}

/// Drops what differs from build to build: Rust's `::h0123456789abcdef`, the numbers of generated Java classes and lambdas.
fn function_name(function: &str) -> String {
    let function = function.trim();
    let function = match function.rsplit_once("::h") {
        Some((name, hash)) if hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()) => name,
        _ => function,
    };
    if !function.contains('$') {
        return function.to_owned();
    }
    let parts = function
        .split('$')
        .map(|part| if is_generated(part.split('.').next().unwrap_or_default()) { "" } else { part });
    parts.collect::<Vec<_>>().join("$")
}

/// The last directory and the name, hashes in the name (`main.3f2a1b9c.js`) and a query dropped.
fn file_name(file: &str) -> String {
    let file = file.split(['?', '#']).next().unwrap_or_default();
    let parts: Vec<_> = file.split(['/', '\\']).filter(|part| !matches!(*part, "" | ".")).collect();
    let mut last: Vec<_> = parts.iter().rev().take(2).rev().map(|part| (*part).to_owned()).collect();
    if let Some(name) = last.last_mut() {
        *name = name.split('.').filter(|part| !is_generated(part) || part.len() < 6).collect::<Vec<_>>().join(".");
    }
    last.join("/")
}

/// Digits, or hexadecimal with a digit in it.
fn is_generated(part: &str) -> bool {
    part.bytes().any(|byte| byte.is_ascii_digit()) && part.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeMap,
        fs::File,
        io::{BufRead as _, BufReader},
    };

    use proptest::prelude::*;

    use super::*;

    fn check(stacktrace: &str, function: &str, file: &str) {
        let frame = top(stacktrace).unwrap_or_default();
        assert_eq!((frame.function.as_str(), frame.file.as_str()), (function, file), "{stacktrace}");
    }

    #[test]
    fn python_is_read_from_its_end() {
        let trace = "Traceback (most recent call last):\n  File \"/srv/venv/lib/python3.11/site-packages/rest_framework/views.py\", line 523, in dispatch\n    response = handler(request)\n               ^^^^^^^\n  File \"/srv/drf/billing/views.py\", line 66, in get\n    return 1\n  File \"/srv/drf/billing/views.py\", line 70, in used_percent\n    return 1 / 0\n  File \"/usr/lib/python3.11/json/decoder.py\", line 3, in decode\nZeroDivisionError: division by zero\n";
        check(trace, "used_percent", "billing/views.py");
    }

    #[test]
    fn java_is_read_past_its_libraries() {
        let trace = "java.lang.IllegalStateException: no\n\tat java.base/java.util.Optional.get(Optional.java:143)\n\tat org.springframework.web.Foo.bar(Foo.java:1)\n\tat com.acme.shop.Cart$$SpringCGLIB$$1a2b3c.add(Cart.java:41)\n\tat com.acme.shop.Api.post(Api.java:12)\nCaused by: x\n\t... 3 more\n";
        check(trace, "com.acme.shop.Cart$$SpringCGLIB$$", "Cart.java");
    }

    #[test]
    fn javascript_is_read_in_every_dialect() {
        check(
            "Error: no\n    at Module._compile (node:internal/modules/cjs/loader:1105:14)\n    at async Cart.add (file:///srv/app/dist/cart.js:10:5)\n",
            "Cart.add",
            "dist/cart.js",
        );
        check(
            "Error: no\n    at new Cart (/app/node_modules/x/i.js:1:2)\n    at /app/src/main.3f2a1b9c.js:10:5\n",
            "",
            "src/main.js",
        );
        check("add@https://app.example/static/cart.js?v=3:10:5\n", "add", "static/cart.js");
    }

    #[test]
    fn go_and_rust_take_the_file_from_the_next_line() {
        check(
            "goroutine 1 [running]:\nruntime/debug.Stack()\n\t/usr/local/go/src/runtime/debug/stack.go:24 +0x5e\nmain.(*Store).Load(0xc000012345, {0x1, 0x2})\n\t/app/store/store.go:12 +0x1d\n",
            "main.(*Store).Load",
            "store/store.go",
        );
        check(
            "   0: rust_begin_unwind\n             at /rustc/abc/library/std/src/panicking.rs:1:5\n   1: core::panicking::panic\n             at /rustc/abc/library/core/src/panicking.rs:1:5\n   2: app::store::load::h0123456789abcdef\n             at ./src/store.rs:12:5\n",
            "app::store::load",
            "src/store.rs",
        );
    }

    #[test]
    fn ruby_php_and_dotnet_are_read() {
        check(
            "/usr/lib/ruby/gems/3.2.0/gems/ar-7/lib/a.rb:1:in `find'\napp/models/user.rb:12:in `save'\n",
            "save",
            "models/user.rb",
        );
        check("\tfrom /srv/app/models/user.rb:12:in 'User#save'\n", "User#save", "models/user.rb");
        check(
            "#0 /var/www/vendor/x/y.php(3): X->y()\n#1 /var/www/app/Cart.php(12): App\\Cart->add(Array)\n#2 {main}\n",
            "App\\Cart->add",
            "app/Cart.php",
        );
        check(
            "   at System.Linq.Enumerable.First(X y)\n   at Acme.Cart.Add(String sku) in C:\\src\\Shop\\Cart.cs:line 41\n",
            "Acme.Cart.Add",
            "Shop/Cart.cs",
        );
    }

    #[test]
    fn line_numbers_and_deploy_directories_do_not_matter() {
        let trace =
            |directory: &str, line: u32| format!("  File \"/srv/{directory}/app/views.py\", line {line}, in post\n");
        assert_eq!(top(&trace("r1", 5)), top(&trace("releases/20261118", 90)));
    }

    #[test]
    fn without_own_code_the_innermost_frame_stands_and_without_frames_none() {
        check(
            "  File \"/x/site-packages/a/b.py\", line 1, in f\n  File \"/x/site-packages/a/c.py\", line 1, in g\n",
            "g",
            "a/c.py",
        );
        assert_eq!(top(""), None);
        assert_eq!(top("division by zero\nat least: once\nuser@example.com\n"), None);
    }

    #[test]
    fn captured_django_tracebacks_lead_to_the_application() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/drf-exchanges.ndjson.gz");
        let lines = BufReader::new(flate2::read::GzDecoder::new(File::open(path).unwrap())).lines();
        let mut frames: BTreeMap<(String, String), usize> = BTreeMap::new();
        for line in lines {
            let exchange: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
            if let Some(stacktrace) = exchange["exception"]["stacktrace"].as_str() {
                let frame = top(stacktrace).unwrap();
                *frames.entry((frame.file, frame.function)).or_default() += 1;
            }
        }
        let found: Vec<_> = frames.iter().map(|((file, function), n)| (file.as_str(), function.as_str(), *n)).collect();
        let expected = [
            ("billing/views.py", "used_percent", 136),
            ("planner/serializers.py", "create", 89),
            ("writer/views.py", "build_job", 70),
            ("writer/views.py", "start_run", 536),
        ];
        assert_eq!(found, expected);
    }

    proptest! {
        #[test]
        fn any_text_is_read(lines in prop::collection::vec("(\t| {0,4})(at |#1 |File \"|from |[0-9]: )?\\PC{0,20}(\\(|\"|:in |@|:1:2|\\)| in ){0,3}\\PC{0,8}", 0..8)) {
            let _ = top(&lines.join("\n"));
        }
    }
}
