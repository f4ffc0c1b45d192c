# The shape of the workflow without loragrid: the same rules, jobs, inputs, outputs and logs, the names made up.
# benchmarks/front_door.py compares the time that Snakemake needs for both, and checks that the jobs are the same.

import hashlib

NUMBER = config["runs"]
NAMES = [f"r16-a32-s{seed}-{hashlib.sha256(str(seed).encode()).hexdigest()[:10]}" for seed in range(NUMBER)]
FOLDERS = [f"results/runs/m/letters/{name}" for name in NAMES] + ["results/untrained/m-nf4"]
BATCH = {folder: hashlib.sha256(folder.encode()).hexdigest()[:10] for folder in FOLDERS}
FOLDER = {batch: folder for folder, batch in BATCH.items()}
EVALUATION = "eval/test-0123456789"
STUDY = "results/studies/bare"
SCORES = [f"{folder}/run.json" for folder in FOLDERS[:-1]] + [
    f"{folder}/{EVALUATION}/scores/{score}-0123456789.json"
    for folder in FOLDERS
    for score in ("rouge", "sacrebleu", "likelihood")
]
CONTAMINATION = "results/contamination/letters.json"


localrules:
    all,
    download_dataset,
    download_model,
    preflight,
    publish_run,
    publish_generations,
    publish_score,
    tabulate,


wildcard_constraints:
    model=r"[^/]+",
    dataset=r"[^/]+",
    run=r"[^/]+",
    batch=r"[0-9a-f]+",
    prompts=r"[^/]+",
    preflight=r"[^/]+",
    evaluation=r"[^/]+",
    subject=r"(?:runs/[^/]+/[^/]+|untrained)/[^/]+",
    score=r"[a-z0-9_]+",
    key=r"[0-9a-f]+",


rule all:
    default_target: True
    input:
        SCORES,
        CONTAMINATION,
        f"{STUDY}/comparison.csv",


rule download_dataset:
    output:
        "data/raw/{dataset}/provenance.json",
    log:
        "results/logs/download_dataset/{dataset}.log",
    shell:
        "true"


rule clean:
    input:
        ancient("data/raw/letters/provenance.json"),
    output:
        "data/clean/{dataset}/train.jsonl",
        "data/clean/{dataset}/validation.jsonl",
        "data/clean/{dataset}/test.jsonl",
        "data/clean/{dataset}/statistics.json",
        "data/clean/{dataset}/cleaning.json",
    log:
        "results/logs/clean/{dataset}.log",
    shell:
        "true"


rule contamination:
    input:
        ancient("data/clean/letters/cleaning.json"),
    output:
        "results/contamination/{dataset}.json",
    log:
        "results/logs/contamination/{dataset}.log",
    shell:
        "true"


rule format:
    input:
        ancient("data/clean/letters/cleaning.json"),
        ancient("data/models/m/model.json"),
    output:
        "data/formatted/{model}/{dataset}/format.json",
    log:
        "results/logs/format/{model}/{dataset}.log",
    shell:
        "true"


rule prompts:
    input:
        ancient("data/clean/letters/cleaning.json"),
    output:
        "data/prompts/{prompts}.jsonl",
    log:
        "results/logs/prompts/{prompts}.log",
    shell:
        "true"


rule download_model:
    output:
        "data/models/{model}/model.json",
    log:
        "results/logs/download_model/{model}.log",
    shell:
        "true"


rule preflight:
    input:
        ancient("data/formatted/m/letters/format.json"),
        ancient("data/models/m/model.json"),
        ancient("data/prompts/test.jsonl"),
    output:
        "data/preflight/{model}/{preflight}.json",
    log:
        "results/logs/preflight/{model}/{preflight}.log",
    shell:
        "true"


rule train:
    input:
        ancient("data/formatted/m/letters/format.json"),
        ancient("data/models/m/model.json"),
        ancient("data/preflight/m/letters.json"),
    output:
        touch("results/batches/train-{batch}.done"),
    log:
        "results/logs/train/{batch}.log",
    resources:
        gpu=1,
    shell:
        "true"


rule publish_run:
    input:
        lambda wildcards: ancient(f"results/batches/train-{BATCH[f'results/runs/m/letters/{wildcards.run}']}.done"),
    output:
        "results/runs/{model}/{dataset}/{run}/training.jsonl",
        "results/runs/{model}/{dataset}/{run}/adapter/adapter_config.json",
        "results/runs/{model}/{dataset}/{run}/adapter/adapter_model.safetensors",
        "results/runs/{model}/{dataset}/{run}/run.json",
    log:
        "results/logs/publish_run/{model}/{dataset}/{run}.log",
    shell:
        "true"


def inputs_of_generate(wildcards):
    needs = [ancient("data/models/m/model.json"), ancient("data/prompts/test.jsonl")]
    trained = FOLDER[wildcards.batch].startswith("results/runs")
    return [*needs, ancient(f"results/batches/train-{wildcards.batch}.done")] if trained else needs


rule generate:
    input:
        inputs_of_generate,
    output:
        touch("results/batches/generate-{batch}.done"),
    log:
        "results/logs/generate/{batch}.log",
    resources:
        gpu=1,
    shell:
        "true"


def batch_of_answers(wildcards):
    return ancient(f"results/batches/generate-{BATCH[f'results/{wildcards.subject}']}.done")


rule publish_generations:
    input:
        batch_of_answers,
    output:
        "results/{subject}/eval/{evaluation}/generations.jsonl",
        "results/{subject}/eval/{evaluation}/generation.json",
    log:
        "results/logs/publish_generations/{subject}/{evaluation}.log",
    shell:
        "true"


def inputs_of_score(wildcards):
    answers = f"{FOLDER[wildcards.batch]}/{EVALUATION}/generations.jsonl"
    return [ancient(answers), ancient("data/prompts/test.jsonl")]


rule score:
    input:
        inputs_of_score,
    output:
        touch("results/batches/score-{batch}.done"),
    log:
        "results/logs/score/{batch}.log",
    shell:
        "true"


def batch_of_score(wildcards):
    stage = "generate" if wildcards.score == "likelihood" else "score"
    return ancient(f"results/batches/{stage}-{BATCH[f'results/{wildcards.subject}']}.done")


rule publish_score:
    input:
        batch_of_score,
    output:
        "results/{subject}/eval/{evaluation}/scores/{score}-{key}.json",
    log:
        "results/logs/publish_score/{subject}/{evaluation}/{score}-{key}.log",
    shell:
        "true"


rule tabulate:
    input:
        study="bare.yaml",
        scores=SCORES,
        contamination=CONTAMINATION,
    output:
        f"{STUDY}/comparison.html",
        f"{STUDY}/comparison.csv",
        f"{STUDY}/gains.csv",
        f"{STUDY}/cost.csv",
        directory(f"{STUDY}/figures"),
        directory(f"{STUDY}/examples"),
        f"{STUDY}/comparison.md",
        f"{STUDY}/comparison.tex",
    log:
        "results/logs/tabulate/bare.log",
    shell:
        "true"
