# Base models: downloaded where the internet is, or made here from a corpus.


rule download_model:
    output:
        update("data/models/{model}/model.json"),
    log:
        "results/logs/download_model/{model}.log",
    wildcard_constraints:
        model=any_of(id_ for id_, model in GRID.models.items() if not model.build),
    retries: 3
    conda:
        "../../envs/cpu.yaml"
    params:
        study=STUDY_FILE,
    message:
        in_log("fetch the model {wildcards.model}")
    shell:
        "python -m loragrid download --study {params.study:q} --model {wildcards.model} >> {log} 2>&1"


rule build_model:
    output:
        update("data/models/{model}/model.json"),
    log:
        "results/logs/build_model/{model}.log",
    wildcard_constraints:
        model=any_of(id_ for id_, model in GRID.models.items() if model.build),
    retries: RETRIES
    conda:
        "../../envs/cpu.yaml"
    threads: 2
    resources:
        mem_mb=memory_after(attempts_of("build_model", "{model}"), 8000),
        runtime=minutes_after(attempts_of("build_model", "{model}"), 120),
    params:
        study=STUDY_FILE,
    message:
        in_log("build the model {wildcards.model}")
    shell:
        "exec python -m loragrid build --study {params.study:q} --model {wildcards.model} --threads {threads} >> {log} 2>&1"
