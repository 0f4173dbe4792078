use errata::store::engine;

fn main() {
    let mut args = std::env::args_os().skip(1);
    if args.next().is_some_and(|first| first == engine::SUBCOMMAND) {
        engine::child_main(args);
    }
}
