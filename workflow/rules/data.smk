# download → clean → format, and the prompts of evaluations. None of it needs a GPU.


rule download_dataset:
    output:
        "data/raw/{dataset}/provenance.json",
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


rule clean:
    input:
        raw_of_clean,
    output:
        "data/clean/{dataset}/train.jsonl",
        "data/clean/{dataset}/validation.jsonl",
        "data/clean/{dataset}/test.jsonl",
        "data/clean/{dataset}/statistics.json",
        "data/clean/{dataset}/cleaning.json",
    log:
        "results/logs/clean/{dataset}.log",
    retries: 1
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        study=STUDY_FILE,
    message:
        in_log("clean {wildcards.dataset}")
    shell:
        "python -m loragrid clean --study {params.study:q} --dataset {wildcards.dataset} >> {log} 2>&1"


rule format:
    input:
        inputs_of_format,
    output:
        "data/formatted/{model}/{dataset}/format.json",
    log:
        "results/logs/format/{model}/{dataset}.log",
    retries: 1
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        study=STUDY_FILE,
    message:
        in_log("format {wildcards.dataset} for {wildcards.model}")
    shell:
        "python -m loragrid format --study {params.study:q} --formatted {wildcards.model}/{wildcards.dataset} >> {log} 2>&1"


rule prompts:
    input:
        clean_of_prompts,
    output:
        "data/prompts/{prompts}.jsonl",
    log:
        "results/logs/prompts/{prompts}.log",
    retries: 1
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=2000,
        runtime=15,
    params:
        study=STUDY_FILE,
    message:
        in_log("write the prompts {wildcards.prompts}")
    shell:
        "python -m loragrid prompts --study {params.study:q} --prompts {wildcards.prompts} >> {log} 2>&1"
