# What can be known of a model and its data before any GPU is used: in seconds, where Snakemake itself runs.


rule preflight:
    input:
        inputs_of_preflight,
    output:
        update("data/preflight/{model}/{preflight}.json"),
    log:
        "results/logs/preflight/{model}/{preflight}.log",
    retries: 0
    conda:
        "../../envs/cpu.yaml"
    params:
        study=STUDY_FILE,
    message:
        in_log("look at {wildcards.preflight} for {wildcards.model}")
    shell:
        "python -m loragrid preflight --study {params.study:q} --preflight {wildcards.model}/{wildcards.preflight} > {log} 2>&1"
