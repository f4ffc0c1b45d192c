# download → clean (and mix) → format, the prompts of evaluations, and what these have in common with training data.
# None of it needs a GPU.


rule download_dataset:
    output:
        update("data/raw/{dataset}/provenance.json"),
    log:
        "results/logs/download_dataset/{dataset}.log",
    retries: 3
    conda:
        "../../envs/cpu.yaml"
    params:
        study=STUDY_FILE,
    message:
        in_log("fetch the dataset {wildcards.dataset}")
    shell:
        "python -m loragrid download --study {params.study:q} --dataset {wildcards.dataset} >> {log} 2>&1"


rule download_wordnet:
    output:
        update("data/wordnet/provenance.json"),
    log:
        "results/logs/download_wordnet.log",
    retries: 3
    conda:
        "../../envs/cpu.yaml"
    message:
        in_log("fetch WordNet")
    shell:
        "python -m loragrid download --wordnet >> {log} 2>&1"


rule downloads:
    input:
        downloads_of_study(),
    message:
        in_log("everything that {GRID.study} needs from the internet is there")


rule clean:
    input:
        inputs_of_clean,
    output:
        update("data/clean/{dataset}/train.jsonl"),
        update("data/clean/{dataset}/validation.jsonl"),
        update("data/clean/{dataset}/test.jsonl"),
        update("data/clean/{dataset}/statistics.json"),
        update("data/clean/{dataset}/cleaning.json"),
    log:
        "results/logs/clean/{dataset}.log",
    retries: RETRIES
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=memory_after(attempts_of("clean", "{dataset}"), 4000),
        runtime=minutes_after(attempts_of("clean", "{dataset}"), 60),
    params:
        study=STUDY_FILE,
    message:
        in_log("clean {wildcards.dataset}")
    shell:
        "exec python -m loragrid clean --study {params.study:q} --dataset {wildcards.dataset} >> {log} 2>&1"


rule contamination:
    input:
        inputs_of_contamination,
    output:
        update("results/contamination/{dataset}.json"),
    log:
        "results/logs/contamination/{dataset}.log",
    retries: RETRIES
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=memory_after(attempts_of("contamination", "{dataset}"), 4000),
        runtime=minutes_after(attempts_of("contamination", "{dataset}"), 60),
    params:
        study=STUDY_FILE,
    message:
        in_log("look for what is asked in {wildcards.dataset}")
    shell:
        "exec python -m loragrid contamination --study {params.study:q} --dataset {wildcards.dataset} >> {log} 2>&1"


rule format:
    input:
        inputs_of_format,
    output:
        update("data/formatted/{model}/{dataset}/format.json"),
    log:
        "results/logs/format/{model}/{dataset}.log",
    retries: RETRIES
    conda:
        "../../envs/cpu.yaml"
    threads: 2
    resources:
        mem_mb=memory_after(attempts_of("format", "{model}/{dataset}"), 4000),
        runtime=minutes_after(attempts_of("format", "{model}/{dataset}"), 60),
    params:
        study=STUDY_FILE,
    message:
        in_log("format {wildcards.dataset} for {wildcards.model}")
    shell:
        "exec python -m loragrid format --study {params.study:q} --formatted {wildcards.model}/{wildcards.dataset}"
        " --workers {threads} >> {log} 2>&1"


rule prompts:
    input:
        clean_of_prompts,
    output:
        update("data/prompts/{prompts}.jsonl"),
    log:
        "results/logs/prompts/{prompts}.log",
    retries: RETRIES
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=memory_after(attempts_of("prompts", "{prompts}"), 2000),
        runtime=minutes_after(attempts_of("prompts", "{prompts}"), 15),
    params:
        study=STUDY_FILE,
    message:
        in_log("write the prompts {wildcards.prompts}")
    shell:
        "exec python -m loragrid prompts --study {params.study:q} --prompts {wildcards.prompts} >> {log} 2>&1"
