# What the rules share that work on batches: from a batch's id, or from what it makes, to files, memory and minutes.

# Jobs publish what they have finished themselves: then there is nothing left to do for a rule that publishes.
PUBLISHED = "for file in {output}; do test -e $file || missing=1; done; test -z ${{missing:-}} ||"


def in_words(member):
    """What a batch holds."""
    if isinstance(member, TrainMember):
        return subject_in_words(member.run, member.model)
    if isinstance(member, CompareMember):
        return subject_in_words(member.run, member.model, member.log_probabilities.precision)
    return about_answers(member.answers, member.run, member.model)


def members_of(stage):
    # As they are recorded: when a job begins, the study may have been changed.
    def members(wildcards):
        return ", ".join(map(in_words, batch_of(stage, wildcards).members))

    return members


def batch_of(stage, wildcards):
    batches = getattr(PLAN, stage) if PLAN else {}
    return batches.get(wildcards.batch) or read_batch(stage, wildcards.batch)


def inputs_of_batch(stage, wildcards):
    batch = batch_of(stage, wildcards)
    return [ancient(file) for file in [*batch.needs, *batch.after]]


def inputs_of_train(wildcards):
    return inputs_of_batch("train", wildcards)


def inputs_of_log_probabilities(wildcards):
    return inputs_of_batch("log_probabilities", wildcards)


def inputs_of_generate(wildcards):
    return inputs_of_batch("generate", wildcards)


def gpus_of_train(wildcards):
    # Job processes ask for this, too, since Snakemake does not tell them what they were given: the Slurm plugin hands
    # on so many GPUs to the job's step.
    return max(member.model.gpus for member in batch_of("train", wildcards).members)


def cpus_of_train(wildcards):
    # One core computes for each GPU; reading data, saving and Snakemake itself need another.
    return 2 * (gpus_of_profile() or gpus_of_train(wildcards))


def gpus_to_answer(stage, wildcards):
    models = [member.model for member in batch_of(stage, wildcards).members]
    return max(model.gpus_to_answer for model in models)


def gpus_of_log_probabilities(wildcards):
    return gpus_to_answer("log_probabilities", wildcards)


def gpus_of_generate(wildcards):
    return gpus_to_answer("generate", wildcards)


# Job processes are asked for memory and minutes, too, when they have long been given them; they must answer a number.
GIVEN = 0


def settled(settle, place):
    """Put on record how the last attempt ended; for an error here, Snakemake would cancel every job of the study."""
    try:
        settle(place, ENDING)
    except (UserError, OSError) as error:
        print(f"Warning: {error}", file=sys.stderr)


def memory_of(stage):
    def memory(wildcards, attempt):
        if not ESTIMATOR:
            return GIVEN
        batch = batch_of(stage, wildcards)
        if attempt > 1:
            # Slurm may have killed the job before it could say why; whether it was for its memory, Slurm knows.
            for member in batch.members:
                settled(settle_if_gone, member.work)
        return ESTIMATOR.request(batch).memory_mb

    return memory


def attempts_of(rule, id_):
    """Where the attempts at a target are recorded, from the wildcards in its id."""

    def place(wildcards):
        return attempts_folder(rule, id_.format(**dict(wildcards.items())))

    return place


def memory_after(attempts, memory):
    """Memory for work that can only start again: more after it was killed for want of it."""

    def grown(wildcards, attempt):
        place = attempts(wildcards)
        if attempt > 1:
            settled(settle_if_over, place)
        return math.ceil((memory(wildcards) if callable(memory) else memory) * memory_factor(place))

    return grown


def minutes_after(attempts, minutes):
    """Minutes for work that can only start again: more after they were too few, up to the longest job allowed."""

    def grown(wildcards, attempt):
        place = attempts(wildcards)
        if attempt > 1:
            settled(settle_if_over, place)
        return grown_minutes(minutes(wildcards) if callable(minutes) else minutes, place, LONGEST_OF_STAGES)

    return grown


def minutes_of(stage):
    def minutes(wildcards):
        return ESTIMATOR.request(batch_of(stage, wildcards), LONGEST_MINUTES).minutes if ESTIMATOR else GIVEN

    return minutes


def batch_of_run(wildcards):
    batch = TRAIN_BATCH.get(f"results/runs/{wildcards.model}/{wildcards.dataset}/{wildcards.run}")
    return ancient(batch.done) if batch else []


def batch_of_answers(wildcards):
    folder = f"results/{wildcards.subject}/eval/{wildcards.evaluation}"
    batch = GENERATE_BATCH.get(folder)
    # Of answers that are there a score by the model may still be missing.
    return unless_there(f"{folder}/generations.jsonl", *([batch.done] if batch else []))


def gpus_given(wildcards, resources):
    return gpus_in(resources) or 1


# judgements


def inputs_of_judge(wildcards):
    return inputs_of_batch("judge", wildcards)


def batch_of_judgements(wildcards):
    answers = answers_of(wildcards)
    file = f"{answers.folder}/judgements/{wildcards.score}-{wildcards.key}.jsonl"
    batch = JUDGE_BATCH.get(file)
    # Judgements are worth nothing without the answers, and who publishes those says why there are none.
    id_ = next(id_ for id_, each in answers.judgement_files().items() if each == file)
    judged = answers.compared(answers.scores[id_]["opponent"])
    made = [ancient(batch.done)] if batch else []
    return [*made, *(ancient(f"{folder}/generations.jsonl") for folder in judged)]


# scores


def answers_of(wildcards):
    return GRID.answers[f"results/{wildcards.subject}/eval/{wildcards.evaluation}"]


def inputs_of_score(wildcards):
    return inputs_of_batch("score", wildcards)


def inputs_of_score_by_encoder(wildcards):
    return inputs_of_batch("score_by_encoder", wildcards)


def memory_of_score_by_encoder(wildcards):
    return ESTIMATOR.scoring_by_encoder(batch_of("score_by_encoder", wildcards)).memory_mb if ESTIMATOR else GIVEN


def minutes_of_score_by_encoder(wildcards):
    return ESTIMATOR.scoring_by_encoder(batch_of("score_by_encoder", wildcards)).minutes if ESTIMATOR else GIVEN


def batch_of_score(wildcards):
    answers = answers_of(wildcards)
    file = f"{answers.folder}/scores/{wildcards.score}-{wildcards.key}.json"
    batch = SCORE_BATCH.get(file)
    if Path(file).exists():
        return []
    # A label may stand for the name of the metric, which the file has.
    id_ = next(id_ for id_ in answers.scores if answers.score_file(id_) == file)
    place = answers.scores[id_]["place"]
    # A score is worth nothing without what it is made of: who publishes that says why it is not there.
    made_of = []
    if place in ("cpu", "encoder"):
        made_of = [ancient(answers.generations)]
    elif place == "judge":
        made_of = [ancient(answers.judgement_files()[id_])]
    # Without a batch it is made, or cannot be.
    return [*([ancient(batch.done)] if batch else []), *made_of]


def memory_of_score(wildcards):
    return ESTIMATOR.scoring(batch_of("score", wildcards)).memory_mb if ESTIMATOR else GIVEN


def minutes_of_score(wildcards):
    return ESTIMATOR.scoring(batch_of("score", wildcards)).minutes if ESTIMATOR else GIVEN


def all_scores(wildcards):
    runs = [f"{run.folder}/run.json" for run in GRID.runs.values()]
    answered = [answers.generations for answers in GRID.answers.values() if answers.generations]
    return runs + answered + [answers.score_file(id_) for answers in GRID.answers.values() for id_ in answers.scores]


def category_of_figure(wildcards):
    titles = {
        "loss": "Loss curves",
        "rewards": "Rewards",
        "usage": "Memory and speed",
        "lengths": "Token lengths",
        "utterances": "Over the course of dialogues",
    }
    return titles[wildcards.figure]
